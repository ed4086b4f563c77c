"""The messages that a worker's child is given at once: in one transaction, where their handlers allow it.

A handler that declares `batch=N` may share its transaction with up to N messages, also of other such handlers of its
service. What a message does there is what it does alone. If one of them fails, all is rolled back and each is handled
alone: a failing member neither fails nor repeats its neighbours.
"""

import logging
import time
from collections.abc import Sequence

import msgspec
from django.db import Error

from contracts.message import Event, Message
from eventstore.errors import ConcurrentAppend
from eventstore.store import Statement
from messaging import idempotency, log_context
from messaging.answering import report_replay
from messaging.consumer import consume
from messaging.database import is_repeatable
from messaging.delivery import Delivery, open_message
from messaging.envelope import Envelope
from messaging.errors import InvalidMessage
from messaging.failpoints import failpoint
from messaging.handling import Handler, LockRows, handlers_of
from messaging.metrics import Outcome
from messaging.observing import observing_batch
from messaging.outbox_rows import OutgoingMessage
from messaging.settlement import Rejected, in_a_log
from messaging.unit_of_work import UnitOfWork, unit_of_work

log = logging.getLogger(__name__)

_REPETITIONS = 3


class Settled(msgspec.Struct, frozen=True):
    """What became of one delivery: it is to be rejected where `outcome` says so, for `reason`, else acknowledged."""

    outcome: Outcome
    seconds: float
    reason: str = ""


class _Member(msgspec.Struct, frozen=True, eq=False):
    position: int
    handler: Handler
    envelope: Envelope
    message: Message
    delivery: Delivery

    @property
    def keys(self) -> list[str]:
        return idempotency.keys_of(self.envelope.idempotency_key)


def consume_all(service: str, deliveries: Sequence[Delivery]) -> list[Settled]:
    """Handle the deliveries, together where that is possible; one outcome for each, in their order.

    Waits as long as the service's database is away.
    """
    begun = time.perf_counter()
    together = _handle_together(service, deliveries) if len(deliveries) > 1 else frozenset[int]()
    seconds = (time.perf_counter() - begun) / max(1, len(together))
    return [
        Settled(Outcome.HANDLED, seconds) if position in together else _handle_alone(service, delivery)
        for position, delivery in enumerate(deliveries)
    ]


def _handle_alone(service: str, delivery: Delivery) -> Settled:
    begun = time.perf_counter()
    reason = ""
    try:
        outcome = consume(service, delivery)
    except Rejected as error:
        outcome, reason = Outcome.REJECTED, str(error)
    return Settled(outcome, time.perf_counter() - begun, reason)


def _handle_together(service: str, deliveries: Sequence[Delivery]) -> frozenset[int]:
    """The positions of those that are handled and committed; every other one is still to be handled alone."""
    members = _members(service, deliveries)
    for _ in range(_REPETITIONS):
        if len(members) < 2:
            break
        try:
            return _run(service, members)
        except (Error, ConcurrentAppend) as error:
            if isinstance(error, ConcurrentAppend) or is_repeatable(error):
                continue
            _say_why(service, members, error)
            break
        except Exception as error:  # one of them is bad, and handling each alone shows which
            _say_why(service, members, error)
            break
    return frozenset()


def _say_why(service: str, members: Sequence[_Member], error: Exception) -> None:
    log.warning(
        "%s: a batch of %d failed, handling each alone: %s: %s",
        service,
        len(members),
        type(error).__name__,
        in_a_log(error, *(member.delivery for member in members)),
    )


def _members(service: str, deliveries: Sequence[Delivery]) -> list[_Member]:
    handlers = handlers_of(service)
    members = []
    for position, delivery in enumerate(deliveries):
        if delivery.was_delivered_before:
            continue
        try:
            envelope, message = open_message(delivery, handled=handlers.keys())
        except InvalidMessage:
            continue  # alone, it is recorded and rejected
        handler = handlers[envelope.type]
        if isinstance(handler, Handler) and handler.batch > 1:
            members.append(_Member(position, handler, envelope, message, delivery))
    return members


def _run(service: str, members: Sequence[_Member]) -> frozenset[int]:
    with (
        observing_batch([member.delivery for member in members], service=service),
        unit_of_work(service, is_shared=True) as work,
    ):
        free = idempotency.claim_batch(
            [(member.envelope, member.keys) for member in members],
            consumer=service,
            database=work.database,
            now=work.now,
        )
        failpoint("batch.claimed")
        fresh = _fresh(members, free)
        _lock_rows(fresh)
        finished: list[tuple[list[str], Event]] = []
        for member in fresh:
            work.turn_to(member.envelope)
            with log_context.handling(member.delivery.headers, service=service):
                reply = member.handler.run(member.message)
            if reply is not None:
                finished.append((member.keys, reply))
            report_replay(member.envelope, work=work)
        if finished:
            work.add_statement(_finish_statement(finished, work))
    failpoint("batch.committed")
    return frozenset(member.position for member in fresh)


def _fresh(members: Sequence[_Member], free: set[str]) -> list[_Member]:
    """Those that own their key, in order of arrival. What came before, here or earlier, is answered alone."""
    taken: set[str] = set()
    fresh = []
    for member in members:
        key = member.envelope.idempotency_key
        if key in free and key not in taken:
            fresh.append(member)
            taken.update(member.keys)
    return fresh


def _lock_rows(members: Sequence[_Member]) -> None:
    """Let the handlers lock what the batch will change, in one order for all: two batches never wait in a ring."""
    groups: dict[LockRows, list[Message]] = {}
    for member in members:
        if member.handler.lock is not None:
            groups.setdefault(member.handler.lock, []).append(member.message)
    for lock, messages in groups.items():
        lock(messages)


def _finish_statement(finished: Sequence[tuple[list[str], Event]], work: UnitOfWork) -> Statement:
    kept: dict[str, OutgoingMessage] = {}
    for keys, reply in finished:
        for key in keys:
            # A compensation has its action's key too, which keeps the action's own reply where both are in the batch.
            kept.setdefault(key, work.message_of(reply))
    return idempotency.finish_batch_statement(list(kept.items()), consumer=work.service, now=work.now)
