"""Many messages in one transaction: keys claimed in sorted order, sagas locked by id, decided in arrival order."""

from collections.abc import Iterator, Sequence
from uuid import UUID

import msgspec
from django.conf import settings

from contracts.message import Event, Message
from contracts.sagas import CheckDeadlines, NoteDeadLetter, NoteDiscardedLetter
from messaging import idempotency, replays
from messaging.envelope import Envelope
from messaging.failpoints import failpoint
from messaging.unit_of_work import UnitOfWork, unit_of_work
from sagas import records
from sagas.decide import begin, decide
from sagas.errors import NotBegunYet, UnknownSaga
from sagas.handlers import SERVICE
from sagas.incoming import DeadlinePassed, Happened, Replied, Started
from sagas.moves import Decision, Policy
from sagas.outgoing import keep_deadlines, note_of, outgoing
from sagas.records import LoadedSaga, Locked, NewSaga, Note
from sagas.registry import awaited_by, definition, saga_id_of, started_by

Own = CheckDeadlines | NoteDeadLetter | NoteDiscardedLetter
"""What a saga is told about itself."""
Pairs = dict[tuple[str, str], list[UUID]]
"""Name and business key to the unfinished sagas; see `records.find`."""


class Incoming(msgspec.Struct, frozen=True):
    """A message as it was opened."""

    envelope: Envelope
    message: Message


def handle_batch(batch: Sequence[Incoming]) -> None:
    """Move the sagas that these messages are for, in one transaction; a message that came before moves nothing.

    Every replay among them is reported as handled. Raises `UnknownSaga` for a message to a saga that is not there, and
    `NotBegunYet` for an event from outside that comes too early; then nothing of the batch has happened.
    """
    with unit_of_work(SERVICE) as work:
        fresh = _claimed(batch, work)
        _report_replays(batch, work)
        if not fresh:
            return
        created = _begin_new(fresh, work)
        known = _find_awaiting(fresh)
        targets = [(incoming, _targets(incoming, known)) for incoming in fresh]
        locked = records.lock((saga_id for _, ids in targets for saga_id in ids), now=work.now)
        for incoming, _ in targets:
            _make_sure_it_is_heard(incoming, known, locked)
        notes: list[Note] = []
        # A start before what came for the same saga ahead of it: the others would find nothing begun.
        for incoming, ids in sorted(targets, key=lambda target: not _is_start(target[0])):
            for saga_id in ids:
                notes += _move(incoming, saga_id, locked, created, work)
        for statement in records.save_statements(locked.sagas.values(), now=work.now):
            work.add_statement(statement)
        if notes:
            work.add_statement(records.note_statement(notes, now=work.now))
        traces = {saga_id: incoming.envelope.traceparent for incoming, ids in targets for saga_id in ids}
        keep_deadlines(locked.sagas.values(), work, traces)
        failpoint("orchestrator.decided")


def policy() -> Policy:
    """The settings' own deadline and longest pause."""
    return Policy(deadline=settings.STEP_DEADLINE, longest_pause=settings.STEP_REPEAT_LONGEST)


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
        event = incoming.message
        if not isinstance(event, Event):
            continue
        for saga in started_by(event):
            saga_id = saga_id_of(saga, event)
            new.setdefault(
                saga_id,
                NewSaga(
                    id=saga_id,
                    name=saga.name,
                    version=saga.version,
                    business_key=str(getattr(event, saga.unique_by)),
                    correlation_id=incoming.envelope.correlation_id,
                ),
            )
    return records.begin(list(new.values()), now=work.now)


def _is_start(incoming: Incoming) -> bool:
    return isinstance(incoming.message, Event) and bool(started_by(incoming.message))


def _find_awaiting(fresh: Sequence[Incoming]) -> Pairs:
    """The sagas that may wait for events from outside; one statement, and none where there is no such event."""
    wanted = {
        pair
        for incoming in fresh
        if isinstance(incoming.message, Event)
        for pair in awaited_by(incoming.message)
    }
    return records.find(wanted) if wanted else {}


def sagas_of(incoming: Incoming) -> list[UUID]:
    """The sagas that a message is for, the one that sent the command or begins with it before all others."""
    return _targets(incoming, _find_awaiting([incoming]))


def _targets(incoming: Incoming, known: Pairs) -> list[UUID]:
    """The sagas that a message is for: that which sent the command, those that it starts, those that wait for it."""
    message = incoming.message
    if isinstance(message, Own):
        return [message.saga_id]
    found = [incoming.envelope.saga_id] if incoming.envelope.saga_id is not None else []
    if isinstance(message, Event):
        found += [saga_id_of(saga, message) for saga in started_by(message)]
        found += [saga_id for pair in awaited_by(message) for saga_id in known.get(pair, ())]
    return list(dict.fromkeys(found))


def _make_sure_it_is_heard(incoming: Incoming, known: Pairs, locked: Locked) -> None:
    """An event from outside that no saga waits for any more is no news; one that comes too early is.

    Raises `NotBegunYet` where no such saga has begun, or where one has ended since it was looked for: it may have been
    run again, and the new one waits.
    """
    awaiting = awaited_by(incoming.message) if isinstance(incoming.message, Event) else set()
    if not awaiting:
        return
    names = " or ".join(f"{name} {key}" for name, key in sorted(awaiting))
    if incoming.envelope.saga_id is None and not any(pair in known for pair in awaiting):
        raise NotBegunYet(
            f"{incoming.envelope.type} is for the saga {names}, which has not begun yet. It is repeated; where that is "
            "not enough, replay the message once the saga has begun."
        )
    if any(locked.sagas[each].stored.is_final for pair in awaiting for each in known.get(pair, ())):
        raise NotBegunYet(
            f"The saga {names} has ended just now, or is run again: who waits is looked up anew."
        )


def _move(
    incoming: Incoming, saga_id: UUID, locked: Locked, created: set[UUID], work: UnitOfWork
) -> Iterator[Note]:
    loaded = locked.sagas.get(saga_id)
    if loaded is None:
        raise UnknownSaga(
            f"{incoming.envelope.type} is for saga {saga_id}, which is not in the database. "
            "It stays in the dead letters until somebody has found out where it comes from."
        )
    decision = _decide(incoming, loaded, locked, created, work=work)
    if decision is None:
        return
    loaded.state = decision.saga
    envelope, message = incoming.envelope, incoming.message
    if decision.missed or not isinstance(message, CheckDeadlines):
        yield Note(
            saga_id=saga_id,
            direction="time" if decision.missed else "received",
            message_id=envelope.message_id,
            type=envelope.type,
            step=_step_of(incoming),
            body={"steps": list(decision.missed)} if decision.missed else message.to_payload(),
            at=envelope.occurred_at,
        )
    for sending in decision.sendings:
        sent = outgoing(
            sending, loaded, cause=envelope.message_id, traceparent=envelope.traceparent, now=work.now
        )
        work.outgoing.append(sent)
        yield note_of(sent, loaded)


def _step_of(incoming: Incoming) -> str:
    message = incoming.message
    if isinstance(message, (NoteDeadLetter, NoteDiscardedLetter)):
        return message.step
    return incoming.envelope.step or ""


def _decide(
    incoming: Incoming, loaded: LoadedSaga, locked: Locked, created: set[UUID], *, work: UnitOfWork
) -> Decision | None:
    """What follows; None where the message is no news to any saga. `created` loses a saga that begins."""
    saga, message, state = definition(loaded.name, loaded.version), incoming.message, loaded.state
    happened: Started | Replied | Happened | DeadlinePassed | NoteDeadLetter | NoteDiscardedLetter
    match message:
        case CheckDeadlines():
            happened = DeadlinePassed()
        case NoteDeadLetter() | NoteDiscardedLetter():
            happened = message
        case Event() if isinstance(message, saga.starts):
            if state.id not in created:
                return None
            created.discard(state.id)
            state, happened = begin(saga, state.id), Started(message)
        case Event() if incoming.envelope.saga_id == state.id and saga.is_reply(
            incoming.envelope.step or "", message
        ):
            happened = Replied(incoming.envelope.step or "", incoming.envelope.step_try or 1, message)
        case Event():
            happened = Happened(message)
        case _:
            return None
    return decide(saga, state, happened, now=work.now, policy=policy(), switches=locked.switches)
