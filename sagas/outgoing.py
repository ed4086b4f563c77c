"""What a saga says, as rows of the outbox: its commands, and the moment when it is to be looked at again."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID

from contracts.sagas import CheckDeadlines
from messaging import idempotency, topology, tracing
from messaging.envelope import Envelope, new_message_id
from messaging.outbox_rows import OutgoingMessage, delete_statement
from messaging.unit_of_work import UnitOfWork
from sagas.handlers import SERVICE
from sagas.moves import Sending
from sagas.records import LoadedSaga, Note


def outgoing(
    sending: Sending, loaded: LoadedSaga, *, cause: UUID | None, traceparent: str | None, now: datetime
) -> OutgoingMessage:
    """The command for the outbox."""
    message_id, wire_type = new_message_id(), sending.command.wire_type
    return _message(
        Envelope(
            message_id=message_id,
            type=wire_type,
            idempotency_key=_key_of(sending, loaded.state.id),
            correlation_id=loaded.correlation_id,
            causation_id=cause,
            occurred_at=now,
            saga_id=loaded.state.id,
            step=sending.step,
            step_try=sending.step_try,
            traceparent=tracing.outgoing(wire_type, message_id=message_id, cause=traceparent),
        ),
        sending.command.to_payload(),
        routing_key=sending.command.routing_key(),
        available_at=now,
    )


def _key_of(sending: Sending, saga_id: UUID) -> str:
    key_saga_id = sending.key_saga_id or saga_id
    if sending.question:
        return idempotency.question_key(
            saga_id=key_saga_id, step=sending.step, step_try=sending.step_try, number=sending.question
        )
    return idempotency.saga_key(
        saga_id=key_saga_id,
        step=sending.step,
        step_try=sending.step_try,
        is_compensation=sending.is_compensation,
    )


def note_of(message: OutgoingMessage, loaded: LoadedSaga) -> Note:
    """The record that the saga keeps of what it sends."""
    envelope = message.envelope
    return Note(
        saga_id=loaded.state.id,
        direction="sent",
        message_id=envelope.message_id,
        type=envelope.type,
        step=envelope.step or "",
        body=message.body,
        at=envelope.occurred_at,
    )


def keep_deadlines(sagas: Iterable[LoadedSaga], work: UnitOfWork, traces: Mapping[UUID, str | None]) -> None:
    """One outbox row a saga, due when it is to be looked at next; none for a saga that waits for nothing."""
    over: list[str] = []
    for loaded in sagas:
        saga = loaded.state
        known_key = f"saga:{saga.id}:deadline"
        due = saga.next_deadline()
        if due is not None:
            work.outgoing.append(
                look_again(
                    saga.id,
                    loaded.correlation_id,
                    now=work.now,
                    at=due,
                    known_key=known_key,
                    cause=traces.get(saga.id),
                )
            )
        elif loaded.stored.next_deadline() is not None:
            over.append(known_key)
    if over:
        work.add_statement(delete_statement(over))


def look_again(
    saga_id: UUID,
    correlation_id: str,
    *,
    now: datetime,
    at: datetime,
    known_key: str | None = None,
    cause: str | None = None,
) -> OutgoingMessage:
    """Has the saga looked at, at this moment; with a known key in place of any other such row."""
    message_id = new_message_id()
    command = CheckDeadlines(saga_id=saga_id)
    return _message(
        Envelope(
            message_id=message_id,
            type=command.wire_type,
            idempotency_key=str(message_id),
            correlation_id=correlation_id,
            occurred_at=now,
            traceparent=tracing.child_of(cause),
        ),
        command.to_payload(),
        routing_key=command.routing_key(),
        available_at=at,
        known_key=known_key,
    )


def _message(
    envelope: Envelope,
    body: dict[str, object],
    *,
    routing_key: str,
    available_at: datetime,
    known_key: str | None = None,
) -> OutgoingMessage:
    return OutgoingMessage(
        envelope=envelope,
        body=body,
        service=SERVICE,
        exchange=topology.COMMANDS,
        routing_key=routing_key,
        available_at=available_at,
        known_key=known_key,
    )
