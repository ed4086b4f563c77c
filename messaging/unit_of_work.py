"""One transaction of one service: what it changes, what happened, and what it has to say, or nothing of it.

Events and outgoing messages are collected and written by one round trip just before the commit. Where several messages
share the unit, the statements that one has collected are run before another reads.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connections, transaction

from contracts.message import Command, Event, Message
from eventstore import store
from eventstore.errors import ConcurrentAppend
from eventstore.store import NewEvent, Statement
from messaging import rehearsing, topology, tracing
from messaging.envelope import Envelope, new_message_id, utc_now
from messaging.errors import NoUnitOfWork
from messaging.failpoints import failpoint
from messaging.outbox_rows import OutgoingMessage, insert_statement, wake_relay_statement

_current: ContextVar["UnitOfWork | None"] = ContextVar("unit_of_work", default=None)


class UnitOfWork:
    """What one transaction has collected so far."""

    def __init__(
        self, *, service: str, cause: Envelope | None, correlation_id: str | None, now: datetime
    ) -> None:
        self.service = service
        self.database: str = settings.SERVICES[service]
        self.cause = cause
        self.correlation_id = correlation_id or (cause.correlation_id if cause else "")
        self.now = now
        self._begun_trace: str | None = None
        """The trace of what this unit sends without a cause: the first of its messages begins it."""
        self.outgoing: list[OutgoingMessage] = []
        self._appended: list[NewEvent] = []
        self._published: list[tuple[Event, OutgoingMessage]] = []
        self._statements: list[Statement] = []

    def cause_id(self) -> UUID:
        """The id of the message that is being handled; raises `NoUnitOfWork` where there is none."""
        if self.cause is None:
            raise NoUnitOfWork("This is caused by no message, so there is no id of it.")
        return self.cause.message_id

    def turn_to(self, cause: Envelope) -> None:
        """Go on with another message that shares this unit: what is sent from now on is caused by it."""
        self.cause = cause
        self.correlation_id = cause.correlation_id

    def send(
        self, command: Command, *, key: str | None = None, available_at: datetime | None = None
    ) -> Envelope:
        """Put a command in the outbox; see `messaging.outbox.send`."""
        envelope = self._envelope(command, key=key)
        self.outgoing.append(
            OutgoingMessage(
                envelope=envelope,
                body=command.to_payload(),
                service=self.service,
                exchange=topology.COMMANDS,
                routing_key=command.routing_key(),
                available_at=available_at or self.now,
            )
        )
        return envelope

    def publish(self, event: Event, *, stream: str, version: int) -> Envelope:
        """Append an event and put it in the outbox; see `messaging.outbox.publish`."""
        envelope = self._envelope(event, stream=stream, sequence=version)
        metadata = {
            "message_id": str(envelope.message_id),
            "correlation_id": envelope.correlation_id,
            "causation_id": str(envelope.causation_id) if envelope.causation_id else None,
            "traceparent": envelope.traceparent,
        }
        self._appended.append(
            NewEvent(stream=stream, version=version, event=event, metadata=metadata, occurred_at=self.now)
        )
        message = OutgoingMessage(
            envelope=envelope,
            body=event.to_payload(),
            service=self.service,
            exchange=topology.EVENTS,
            routing_key=event.routing_key(),
            available_at=self.now,
        )
        self._published.append((event, message))
        if topology.has_subscriber(event.wire_type):
            self.outgoing.append(message)
        return envelope

    def message_of(self, event: Event) -> OutgoingMessage:
        """The outgoing message of an event that this unit of work has published."""
        for published, message in self._published:
            if published is event:
                return message
        raise NoUnitOfWork(
            f"The handler returned a {type(event).__name__} that it has not published: "
            "publish it with outbox.publish(event, stream=..., version=...) and return that same event."
        )

    @property
    def published(self) -> Sequence[OutgoingMessage]:
        """The events that this unit of work appends, as messages; those without a subscriber are not sent."""
        return [message for _, message in self._published]

    def add_statement(self, statement: Statement) -> None:
        """SQL to be run with the last round trip."""
        self._statements.append(statement)

    def run_pending(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        """A wrapper of Django's cursors: run what is collected before the next statement, which may read it."""
        if self._statements:
            pending, self._statements = self._statements, []
            self._execute(pending)
        return execute(sql, params, many, context)

    def flush(self) -> None:
        """Write everything that was collected, in one round trip; raises `ConcurrentAppend` on a collision."""
        statements: list[Statement] = []
        if self._appended:
            statements.append(store.append_statement(self._appended))
        if self.outgoing:
            statements.append(insert_statement(self.outgoing))
        statements += self._statements
        if self.outgoing:
            statements.append(wake_relay_statement())
        if not statements:
            return
        self._statements = []
        try:
            self._execute(statements)
        except IntegrityError as error:
            if not store.is_collision(error):
                raise
            first = self._appended[0]
            raise ConcurrentAppend(stream=first.stream, expected_version=first.version - 1) from error

    def _execute(self, statements: Sequence[Statement]) -> None:
        with connections[self.database].cursor() as cursor:
            cursor.execute(
                ";".join(sql for sql, _ in statements),
                [parameter for _, parameters in statements for parameter in parameters],
            )

    def _envelope(self, message: Message, **more: Any) -> Envelope:
        message_id = new_message_id()
        key = more.pop("key", None) or str(message_id)
        cause = self.cause
        if cause is not None:
            more["causation_id"] = cause.message_id
            if topology.is_command(cause.type):
                more.update(saga_id=cause.saga_id, step=cause.step, step_try=cause.step_try)
        return Envelope(
            message_id=message_id,
            type=message.wire_type,
            idempotency_key=key,
            correlation_id=self.correlation_id or str(message_id),
            occurred_at=self.now,
            traceparent=self._traceparent(message.wire_type, message_id),
            **more,
        )

    def _traceparent(self, wire_type: str, message_id: UUID) -> str:
        if self.cause is not None and self.cause.traceparent is not None:
            return tracing.outgoing(wire_type, message_id=message_id, cause=self.cause.traceparent)
        made = tracing.outgoing(wire_type, message_id=message_id, cause=self._begun_trace)
        self._begun_trace = self._begun_trace or made
        return made


@contextmanager
def unit_of_work(
    service: str,
    *,
    cause: Envelope | None = None,
    correlation_id: str | None = None,
    is_shared: bool = False,
) -> Iterator[UnitOfWork]:
    """A transaction in the service's database; inside, `outbox.send` and `outbox.publish` may be called.

    At the end everything is committed together; on any exception nothing is. `correlation_id` names the story
    (the order) that a unit without a cause begins. In a shared unit several messages are handled one after the other;
    see `UnitOfWork.turn_to`.
    """
    work = UnitOfWork(service=service, cause=cause, correlation_id=correlation_id, now=utc_now())
    token = _current.set(work)
    try:
        with transaction.atomic(using=work.database):
            if is_shared:
                with connections[work.database].execute_wrapper(work.run_pending):
                    yield work
                    work.flush()
            else:
                yield work
                work.flush()
            if is_shared:
                failpoint("batch.flushed")
            elif cause is not None:
                failpoint("consumer.flushed")
        rehearsing.note(work)
    finally:
        _current.reset(token)


def current_database() -> str | None:
    """The database of the unit of work that the caller runs in; None outside of one."""
    work = _current.get()
    return None if work is None else work.database


def current() -> UnitOfWork:
    """The unit of work that the caller runs in; raises `NoUnitOfWork` outside of one."""
    work = _current.get()
    if work is None:
        raise NoUnitOfWork(
            "Nothing can be sent or published here: open `with unit_of_work(service):` around the change that it "
            "belongs to, so that both are committed together."
        )
    return work
