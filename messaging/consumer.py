"""Handling one message: claim its key, run the handler, write what follows, commit.

`consume` returns when the delivery may be acknowledged and raises `Rejected` when the broker is to move it to
the dead letters. Whatever happens in between leaves either everything or nothing, and the message is delivered
again.
"""

import logging
from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import Error, transaction

from contracts.message import Message
from eventstore.errors import ConcurrentAppend
from messaging import attempts, breaker, idempotency, questions, replays, sequence_gate
from messaging.answering import CallUnderWay, answer_again, finish, report_replay
from messaging.breaker import Asking, GatewayAway
from messaging.calls import Begun
from messaging.database import is_away, wait_until_back
from messaging.delivery import Delivery, open_message
from messaging.envelope import Envelope, utc_now
from messaging.errors import InvalidMessage, LeaseLost
from messaging.failpoints import failpoint
from messaging.handling import AnyHandler, GatewayHandler, Handler, QuestionHandler, handlers_of
from messaging.in_place import MOST_REPETITIONS, is_passing, repeated_in_place
from messaging.metrics import Outcome
from messaging.observing import observed
from messaging.ordering import order_of
from messaging.sequence_gate import Turn
from messaging.settlement import CallFailed, is_settled, reject_unreadable, settle_failure
from messaging.unit_of_work import UnitOfWork, unit_of_work

log = logging.getLogger(__name__)


@observed
def consume(service: str, delivery: Delivery) -> Outcome:
    """Handle one delivery in the service's database, and say what became of it.

    On return it is handled, or put back into the outbox for later. Raises `Rejected` where it never can be.
    Waits as long as the service's database is away.
    """
    handlers = handlers_of(service)
    try:
        envelope, message = open_message(delivery, handled=handlers.keys())
    except InvalidMessage as error:
        reject_unreadable(error, delivery=delivery, service=service)
    handler = handlers[envelope.type]
    database: str = settings.SERVICES[service]
    repetitions = 0
    while True:
        try:
            if delivery.was_delivered_before and is_settled(envelope, service=service):
                return Outcome.PUT_BACK
            outcome = _attempt(handler, message, envelope=envelope, delivery=delivery)
            failpoint("consumer.committed")
            return outcome
        except (Error, ConcurrentAppend) as error:
            if isinstance(error, Error) and is_away(error, database=database):
                wait_until_back(database)
                continue
            if is_passing(error) and repetitions < MOST_REPETITIONS:
                repetitions += 1
                continue
            failure: Exception = error
        except LeaseLost as error:
            log.info("%s %s: %s", envelope.type, envelope.message_id, error)
            if replays.is_awaited(envelope):
                continue  # whoever holds the call now need not be this replay, and only this one closes its letter
            return Outcome.DUPLICATE
        except Exception as error:  # whatever a handler raises is recorded and repeated, never dropped
            failure = error
        if settle_failure(failure, envelope=envelope, delivery=delivery, service=service):
            return Outcome.FAILED


def _attempt(handler: AnyHandler, message: Message, *, envelope: Envelope, delivery: Delivery) -> Outcome:
    try:
        return run(handler, message, envelope=envelope, delivery=delivery)
    except CallUnderWay as other:
        database = settings.SERVICES[handler.service]
        with transaction.atomic(using=database):
            attempts.put_back(
                delivery,
                envelope=envelope,
                service=handler.service,
                attempt=envelope.attempt,
                available_at=other.until,
            )
        return Outcome.PUT_BACK
    except GatewayAway as away:
        with transaction.atomic(using=away.asking.database):
            breaker.wait(away.asking, envelope=envelope, delivery=delivery)
        return Outcome.PUT_BACK


def run(handler: AnyHandler, message: Message, *, envelope: Envelope, delivery: Delivery) -> Outcome:
    """Run the handler once, in its transactions.

    Raises `CallUnderWay` and `GatewayAway` where the message has to wait, and whatever the handler raises: around a
    call to a gateway, in `CallFailed`.
    """
    if isinstance(handler, QuestionHandler):
        return questions.run(handler, message, envelope=envelope)
    if isinstance(handler, GatewayHandler):
        return _run_by_gateway(handler, message, envelope=envelope, delivery=delivery)
    if order_of(handler.service, envelope.type) is None:
        return _run(handler, message, envelope=envelope)
    return _run_in_order(handler, message, envelope=envelope, delivery=delivery)


def _run(handler: Handler, message: Message, *, envelope: Envelope) -> Outcome:
    key = envelope.idempotency_key
    keys = idempotency.keys_of(key)
    with unit_of_work(handler.service, cause=envelope) as work:
        report_replay(envelope, work=work)
        free = idempotency.claim(
            keys, envelope=envelope, consumer=handler.service, database=work.database, now=work.now
        )
        if key not in free:
            answer_again(key, message, work=work)
            return Outcome.DUPLICATE
        failpoint("consumer.claimed")
        reply = handler.run(message)
        failpoint("consumer.handled")
        if reply is not None:
            finish(work, reply, keys)
    return Outcome.HANDLED


def _run_in_order(handler: Handler, message: Message, *, envelope: Envelope, delivery: Delivery) -> Outcome:
    """Run the next event of its stream. The stream's position does here what a key does for other messages."""
    with unit_of_work(handler.service, cause=envelope) as work:
        passed = _pass_the_gate(envelope, delivery=delivery, work=work)
        if passed is not None:
            return passed
        handler.run(message)
        _move_on(envelope, work=work)
        report_replay(envelope, work=work)
    return Outcome.HANDLED


def _pass_the_gate(envelope: Envelope, *, delivery: Delivery, work: UnitOfWork) -> Outcome | None:
    """None where the message is to be handled now, in any order or as the next of its stream; else what it became."""
    order = order_of(work.service, envelope.type)
    if order is None:
        return None
    turn = sequence_gate.enter(order, delivery, envelope=envelope, work=work)
    if turn is Turn.NEXT:
        return None
    if turn is Turn.EARLY:
        return Outcome.HELD_BACK
    report_replay(envelope, work=work)
    return Outcome.DUPLICATE


def _move_on(envelope: Envelope, *, work: UnitOfWork) -> None:
    """With the unit of work, move the position of an ordered event's stream over it."""
    order = order_of(work.service, envelope.type)
    if order is not None:
        for statement in sequence_gate.advance_statements(order.place_of(envelope), work=work):
            work.add_statement(statement)


def _run_by_gateway(
    handler: GatewayHandler, message: Message, *, envelope: Envelope, delivery: Delivery
) -> Outcome:
    service = handler.service
    key = envelope.idempotency_key
    action = idempotency.action_key(key)
    with unit_of_work(service, cause=envelope) as work:
        passed = _pass_the_gate(envelope, delivery=delivery, work=work)
        if passed is not None:
            return passed
        begun = _begin_call(handler, message, envelope=envelope, work=work, action=action)
        if begun is None:
            _move_on(envelope, work=work)
            report_replay(envelope, work=work)
            return Outcome.DUPLICATE
    is_answered = False
    failpoint("consumer.started")
    try:
        outcome = handler.call(begun.request, key)
        failpoint("consumer.called")
        is_answered = True
        _conclude(handler, message, outcome, begun=begun, envelope=envelope)
    except (LeaseLost, Error):
        raise
    except Exception as error:
        release = idempotency.release_statement(key, fence=begun.fence, consumer=service, now=utc_now())
        raise CallFailed(error, asking=begun.asking, release=release, is_answered=is_answered) from error
    return Outcome.HANDLED


def _conclude(
    handler: GatewayHandler, message: Message, outcome: Any, *, begun: Begun, envelope: Envelope
) -> None:
    """Store what the gateway answered, if the call is still ours."""

    def store() -> None:
        with unit_of_work(handler.service, cause=envelope) as work:
            _store_outcome(handler, message, outcome, begun=begun, work=work)
            _move_on(envelope, work=work)
            report_replay(envelope, work=work)
            failpoint("consumer.concluded")

    repeated_in_place(store)


def _store_outcome(
    handler: GatewayHandler, message: Message, outcome: Any, *, begun: Begun, work: UnitOfWork
) -> None:
    asking = begun.asking
    assert work.cause is not None
    key = work.cause.idempotency_key
    failures = idempotency.hold(
        key, fence=begun.fence, consumer=handler.service, database=work.database, seeing=asking.failures()
    )
    if failures is None:
        raise LeaseLost("another delivery has taken this call over and stores its outcome")
    reply = handler.conclude(message, outcome)
    if failures or asking.probing_until is not None:
        breaker.answered(asking, now=work.now)
    finish(work, reply, idempotency.keys_of(key))


def _begin_call(
    handler: GatewayHandler, message: Message, *, envelope: Envelope, work: UnitOfWork, action: str | None
) -> Begun | None:
    """Claim the call. None where the message is answered already; raises where it has to wait."""
    names = {"consumer": handler.service, "database": work.database}
    key = envelope.idempotency_key
    asking = Asking(service=handler.service, gateway=handler.gateway)
    lease_until = work.now + timedelta(seconds=settings.GATEWAY_LEASE)
    claim = partial(
        idempotency.claim,
        [key],
        envelope=envelope,
        now=work.now,
        started={key},
        lease_until=lease_until,
        consumer=handler.service,
        database=work.database,
    )
    if action is not None:
        _close_action(action, envelope=envelope, work=work, service=handler.service)
    if not claim(unless=asking.is_open()):
        held = idempotency.look_up(key, **names)
        if held is not None and held.state == "finished":
            answer_again(key, message, work=work)
            return None
        if held is not None and held.lease_until is not None and held.lease_until > work.now:
            raise CallUnderWay(held.lease_until)
        asking = breaker.permitted(asking, now=work.now, lease_until=lease_until)
        if held is not None:
            fence = idempotency.take_over(key, lease_until=lease_until, **names)
            return Begun(held.request or {}, fence, asking)
        if not claim():
            idempotency.lock(key, **names)  # which says where it is too old
            raise CallUnderWay(work.now)  # another delivery has begun it between the two looks
    request = handler.prepare(message, action)
    work.add_statement(idempotency.ask_statement(key, request, consumer=handler.service))
    return Begun(request, 1, asking)


def _close_action(action: str, *, envelope: Envelope, work: UnitOfWork, service: str) -> None:
    """Make sure that the action will have no further effect of its own, before it is undone."""
    names = {"consumer": service, "database": work.database}
    if idempotency.claim([action], envelope=envelope, consumer=service, database=work.database, now=work.now):
        return
    held = idempotency.lock(action, **names)
    if held.state == "finished":
        return
    if held.lease_until is not None and held.lease_until > work.now:
        raise CallUnderWay(held.lease_until)
    idempotency.close(action, now=work.now, **names)
