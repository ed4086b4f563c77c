"""Handling one message: claim its key, run the handler, write what follows, commit.

`consume` returns when the delivery may be acknowledged and raises `Rejected` when the broker is to move it to
the dead letters. Whatever happens in between leaves either everything or nothing, and the message is delivered
again.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import Error, transaction

from contracts.message import Command, Event, Message
from eventstore.errors import ConcurrentAppend
from messaging import attempts, idempotency, topology
from messaging.database import is_away, is_repeatable, wait_until_back
from messaging.delivery import Delivery, open_message
from messaging.envelope import Envelope, utc_now
from messaging.errors import InvalidMessage, LeaseLost
from messaging.failpoints import failpoint
from messaging.handling import GatewayHandler, Handler, handlers_of
from messaging.settlement import CallFailed, is_settled, reject_unreadable, settle_failure
from messaging.unit_of_work import UnitOfWork, unit_of_work

log = logging.getLogger(__name__)

_REPETITIONS_IN_PLACE = 20


class _CallUnderWay(Exception):
    """Another delivery is asking the gateway; this one comes back when that lease has ended."""

    def __init__(self, until: datetime) -> None:
        super().__init__(f"until {until:%H:%M:%S}")
        self.until = until


def consume(service: str, delivery: Delivery) -> None:
    """Handle one delivery in the service's database.

    On return it is handled, or put back into the outbox for later. Raises `Rejected` where it never can be.
    Waits as long as the service's database is away.
    """
    handlers = handlers_of(service)
    try:
        envelope, message = open_message(delivery, handled=set(handlers))
    except InvalidMessage as error:
        reject_unreadable(error, delivery=delivery, service=service)
    handler = handlers[envelope.type]
    database: str = settings.SERVICES[service]
    repetitions = 0
    while True:
        try:
            if delivery.is_redelivered and is_settled(envelope, service=service):
                return
            _attempt(handler, message, envelope=envelope, delivery=delivery)
            failpoint("consumer.committed")
            return
        except (Error, ConcurrentAppend) as error:
            if isinstance(error, Error) and is_away(error, database=database):
                wait_until_back(database)
                continue
            is_passing = isinstance(error, ConcurrentAppend) or is_repeatable(error)
            if is_passing and repetitions < _REPETITIONS_IN_PLACE:
                repetitions += 1
                continue
            failure: Exception = error
        except LeaseLost as error:
            log.info("%s %s: %s", envelope.type, envelope.message_id, error)
            return
        except Exception as error:  # whatever a handler raises is recorded and repeated, never dropped
            failure = error
        if settle_failure(failure, envelope=envelope, delivery=delivery, service=service):
            return


def _attempt(
    handler: Handler | GatewayHandler, message: Message, *, envelope: Envelope, delivery: Delivery
) -> None:
    try:
        if isinstance(handler, Handler):
            _run(handler, message, envelope=envelope)
        else:
            _run_by_gateway(handler, message, envelope=envelope)
    except _CallUnderWay as other:
        database = settings.SERVICES[handler.service]
        with transaction.atomic(using=database):
            attempts.put_back(
                delivery,
                envelope=envelope,
                service=handler.service,
                attempt=envelope.attempt,
                available_at=other.until,
            )


def _run(handler: Handler, message: Message, *, envelope: Envelope) -> None:
    key = envelope.idempotency_key
    action = idempotency.action_key(key)
    with unit_of_work(handler.service, cause=envelope) as work:
        free = idempotency.claim(
            [key] if action is None else [action, key],
            envelope=envelope,
            consumer=handler.service,
            database=work.database,
            now=work.now,
        )
        if key not in free:
            _answer_again(key, message, work=work)
            return
        failpoint("consumer.claimed")
        reply = handler.run(message)
        failpoint("consumer.handled")
        if reply is not None:
            _finish(work, reply, [key] if action is None else [action, key])


def _run_by_gateway(handler: GatewayHandler, message: Message, *, envelope: Envelope) -> None:
    service = handler.service
    key = envelope.idempotency_key
    action = idempotency.action_key(key)
    with unit_of_work(service, cause=envelope) as work:
        begun = _begin_call(handler, message, envelope=envelope, work=work, action=action)
        if begun is None:
            return
        request, fence = begun
    failpoint("consumer.started")
    try:
        outcome = handler.call(request, key)
        failpoint("consumer.called")
        with unit_of_work(service, cause=envelope) as work:
            if not idempotency.is_held(key, fence=fence, consumer=service, database=work.database):
                raise LeaseLost("another delivery has taken this call over and stores its outcome")
            reply = handler.conclude(message, outcome)
            _finish(work, reply, [key] if action is None else [action, key])
            failpoint("consumer.concluded")
    except (LeaseLost, Error):
        raise
    except Exception as error:
        raise CallFailed(
            error, idempotency.release_statement(key, fence=fence, consumer=service, now=utc_now())
        ) from error


def _begin_call(
    handler: GatewayHandler, message: Message, *, envelope: Envelope, work: UnitOfWork, action: str | None
) -> tuple[dict[str, Any], int] | None:
    """Claim the call: what to ask and our fence. None where the message is answered already."""
    names = {"consumer": handler.service, "database": work.database}
    key = envelope.idempotency_key
    lease_until = work.now + timedelta(seconds=settings.GATEWAY_LEASE)
    if action is not None:
        _close_action(action, envelope=envelope, work=work, service=handler.service)
    if idempotency.claim(
        [key], envelope=envelope, now=work.now, started={key}, lease_until=lease_until, **names
    ):
        request = handler.prepare(message, action)
        work.add_statement(idempotency.ask_statement(key, request, consumer=handler.service))
        return request, 1
    held = idempotency.lock(key, **names)
    if held.state == "finished":
        _answer_again(key, message, work=work)
        return None
    if held.lease_until is not None and held.lease_until > work.now:
        raise _CallUnderWay(held.lease_until)
    fence = idempotency.take_over(key, lease_until=lease_until, **names)
    return held.request or {}, fence


def _close_action(action: str, *, envelope: Envelope, work: UnitOfWork, service: str) -> None:
    """Make sure that the action will have no further effect of its own, before it is undone."""
    names = {"consumer": service, "database": work.database}
    if idempotency.claim([action], envelope=envelope, consumer=service, database=work.database, now=work.now):
        return
    held = idempotency.lock(action, **names)
    if held.state == "finished":
        return
    if held.lease_until is not None and held.lease_until > work.now:
        raise _CallUnderWay(held.lease_until)
    idempotency.close(action, now=work.now, **names)


def _answer_again(key: str, message: Message, *, work: UnitOfWork) -> None:
    """Send the reply of a finished command again, under its own message id."""
    if not isinstance(message, Command):
        return
    reply = idempotency.lock(key, consumer=work.service, database=work.database).reply
    if reply is not None and topology.has_subscriber(reply.envelope.type):
        work.outgoing.append(reply)


def _finish(work: UnitOfWork, reply: Event | None, keys: list[str]) -> None:
    kept = None if reply is None else work.message_of(reply)
    work.add_statement(idempotency.finish_statement(keys, reply=kept, consumer=work.service, now=work.now))
