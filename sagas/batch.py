"""Many messages in one transaction: keys claimed in sorted order, sagas locked by id, decided in arrival order."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings

from contracts.message import Event, Message
from contracts.sagas import CheckDeadlines, NoteDeadLetter, NoteDiscardedLetter
from messaging import idempotency, replays, topology, tracing
from messaging.envelope import Envelope, new_message_id
from messaging.failpoints import failpoint
from messaging.outbox_rows import OutgoingMessage, delete_statement
from messaging.unit_of_work import UnitOfWork, unit_of_work
from sagas import records
from sagas.decide import DeadlinePassed, Decision, Policy, Replied, Sending, Started, begin, decide
from sagas.errors import UnknownSaga
from sagas.handlers import SERVICE
from sagas.records import LoadedSaga, NewSaga, Note
from sagas.registry import definition, saga_id_of, started_by


class Incoming(msgspec.Struct, frozen=True):
    """A message as it was opened."""

    envelope: Envelope
    message: Message


def handle_batch(batch: Sequence[Incoming]) -> None:
    """Move the sagas that these messages are for, in one transaction; a message that came before moves nothing.

    Every replay among them is reported as handled. Raises `UnknownSaga` for a message to a saga that is not there, and
    then nothing of the batch has happened.
    """
    with unit_of_work(SERVICE) as work:
        fresh = _claimed(batch, work)
        _report_replays(batch, work)
        if not fresh:
            return
        created = _begin_new(fresh, work)
        sagas = records.lock(saga_id for incoming in fresh if (saga_id := saga_of(incoming)) is not None)
        notes: list[Note] = []
        for incoming in fresh:
            notes += _move(incoming, sagas, created, work)
        for statement in records.save_statements(sagas.values()):
            work.add_statement(statement)
        if notes:
            work.add_statement(records.note_statement(notes))
        traces = {saga_of(incoming): incoming.envelope.traceparent for incoming in fresh}
        _keep_deadlines(sagas.values(), work, traces)
        failpoint("orchestrator.decided")


def _report_replays(batch: Sequence[Incoming], work: UnitOfWork) -> None:
    handled = {incoming.envelope.replay_id: incoming.envelope for incoming in batch}
    work.outgoing += [
        replays.succeeded(envelope, service=SERVICE, now=work.now)
        for envelope in handled.values()
        if replays.is_awaited(envelope)
    ]


def _claimed(batch: Sequence[Incoming], work: UnitOfWork) -> list[Incoming]:
    """The messages not seen before, each once, in arrival order."""
    by_key = {incoming.envelope.idempotency_key: incoming for incoming in reversed(batch)}
    free = idempotency.claim_batch(
        [(incoming.envelope, [key]) for key, incoming in by_key.items()],
        consumer=SERVICE,
        database=work.database,
        now=work.now,
    )
    if len(free) < len(by_key):
        idempotency.make_sure_claimed(
            [key for key in by_key if key not in free], consumer=SERVICE, database=work.database
        )
    return [
        incoming
        for incoming in batch
        if incoming.envelope.idempotency_key in free and by_key[incoming.envelope.idempotency_key] is incoming
    ]


def _begin_new(fresh: Sequence[Incoming], work: UnitOfWork) -> set[UUID]:
    new: dict[UUID, NewSaga] = {}
    for incoming in fresh:
        saga = started_by(incoming.message) if isinstance(incoming.message, Event) else None
        if saga is None or not isinstance(incoming.message, Event):
            continue
        saga_id = saga_id_of(saga, incoming.message)
        new.setdefault(
            saga_id,
            NewSaga(
                id=saga_id,
                name=saga.name,
                version=saga.version,
                business_key=str(getattr(incoming.message, saga.unique_by)),
                correlation_id=incoming.envelope.correlation_id,
            ),
        )
    return records.begin(list(new.values()), now=work.now)


def saga_of(incoming: Incoming) -> UUID | None:
    """The saga that a message is for; None for an event that belongs to none."""
    message = incoming.message
    if isinstance(message, (CheckDeadlines, NoteDeadLetter, NoteDiscardedLetter)):
        return message.saga_id
    if isinstance(message, Event):
        saga = started_by(message)
        if saga is not None:
            return saga_id_of(saga, message)
    return incoming.envelope.saga_id


def _move(
    incoming: Incoming, sagas: dict[UUID, LoadedSaga], created: set[UUID], work: UnitOfWork
) -> Iterator[Note]:
    saga_id = saga_of(incoming)
    if saga_id is None:
        return
    loaded = sagas.get(saga_id)
    if loaded is None:
        raise UnknownSaga(
            f"{incoming.envelope.type} is for saga {saga_id}, which is not in the database. "
            "It stays in the dead letters until somebody has found out where it comes from."
        )
    decision = _decide(incoming, loaded, created, work=work)
    if decision is None:
        return
    loaded.state = decision.saga
    if not isinstance(incoming.message, CheckDeadlines):
        yield Note(
            saga_id=saga_id,
            direction="received",
            envelope=incoming.envelope,
            step=_step_of(incoming),
            body=incoming.message.to_payload(),
        )
    for sending in decision.sendings:
        outgoing = _outgoing(sending, loaded, cause=incoming.envelope, now=work.now)
        work.outgoing.append(outgoing)
        yield Note(
            saga_id=saga_id,
            direction="sent",
            envelope=outgoing.envelope,
            step=sending.step,
            body=outgoing.body,
        )


def _step_of(incoming: Incoming) -> str:
    message = incoming.message
    if isinstance(message, (NoteDeadLetter, NoteDiscardedLetter)):
        return message.step
    return incoming.envelope.step or ""


def _decide(
    incoming: Incoming, loaded: LoadedSaga, created: set[UUID], *, work: UnitOfWork
) -> Decision | None:
    """What follows; None where the message is no news to any saga. `created` loses a saga that begins."""
    saga, message = definition(loaded.name, loaded.version), incoming.message
    policy = Policy(deadline=settings.STEP_DEADLINE, longest_pause=settings.STEP_REPEAT_LONGEST)
    if isinstance(message, CheckDeadlines):
        return decide(saga, loaded.state, DeadlinePassed(), now=work.now, policy=policy)
    if isinstance(message, (NoteDeadLetter, NoteDiscardedLetter)):
        return decide(saga, loaded.state, message, now=work.now, policy=policy)
    if not isinstance(message, Event):
        return None
    if isinstance(message, saga.starts):
        if loaded.state.id not in created:
            return None
        created.discard(loaded.state.id)
        return decide(saga, begin(saga, loaded.state.id), Started(message), now=work.now, policy=policy)
    replied = Replied(incoming.envelope.step or "", incoming.envelope.step_try or 1, message)
    return decide(saga, loaded.state, replied, now=work.now, policy=policy)


def _outgoing(sending: Sending, loaded: LoadedSaga, *, cause: Envelope, now: datetime) -> OutgoingMessage:
    saga_id = loaded.state.id
    key = idempotency.saga_key(
        saga_id=saga_id,
        step=sending.step,
        step_try=sending.step_try,
        is_compensation=sending.is_compensation,
    )
    message_id, wire_type = new_message_id(), sending.command.wire_type
    envelope = Envelope(
        message_id=message_id,
        type=wire_type,
        idempotency_key=key,
        correlation_id=loaded.correlation_id,
        causation_id=cause.message_id,
        occurred_at=now,
        saga_id=saga_id,
        step=sending.step,
        step_try=sending.step_try,
        traceparent=tracing.outgoing(wire_type, message_id=message_id, cause=cause.traceparent),
    )
    return OutgoingMessage(
        envelope=envelope,
        body=sending.command.to_payload(),
        service=SERVICE,
        exchange=topology.COMMANDS,
        routing_key=sending.command.routing_key(),
        available_at=now,
    )


def _keep_deadlines(sagas: Any, work: UnitOfWork, traces: Mapping[UUID | None, str | None]) -> None:
    """One outbox row a saga, due when it is to be looked at next; none for a saga that waits for nothing."""
    over: list[str] = []
    for loaded in sagas:
        saga = loaded.state
        known_key = f"saga:{saga.id}:deadline"
        due = saga.next_deadline()
        if due is None:
            if loaded.stored.next_deadline() is not None:
                over.append(known_key)
            continue
        message_id = new_message_id()
        command = CheckDeadlines(saga_id=saga.id)
        work.outgoing.append(
            OutgoingMessage(
                envelope=Envelope(
                    message_id=message_id,
                    type=command.wire_type,
                    idempotency_key=str(message_id),
                    correlation_id=loaded.correlation_id,
                    occurred_at=work.now,
                    traceparent=tracing.child_of(traces.get(saga.id)),
                ),
                body=command.to_payload(),
                service=SERVICE,
                exchange=topology.COMMANDS,
                routing_key=command.routing_key(),
                available_at=due,
                known_key=known_key,
            )
        )
    if over:
        work.add_statement(delete_statement(over))
