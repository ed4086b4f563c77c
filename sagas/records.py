"""Saga records in set-based SQL: a batch of sagas is loaded and saved in a handful of statements."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connections

from eventstore.store import Statement
from messaging.envelope import Envelope
from sagas.decide import SagaState, SagaStatus, StepState, StepStatus

DATABASE = "default"

_BEGIN = """
INSERT INTO sagas_sagarecord (id, name, version, business_key, correlation_id, status, reason, data, started_at)
SELECT id, name, version, business_key, correlation_id, 'running', '', '{}'::jsonb, %s
FROM unnest(%s::uuid[], %s::text[], %s::int[], %s::text[], %s::text[])
     AS given (id, name, version, business_key, correlation_id)
ORDER BY id
ON CONFLICT DO NOTHING
RETURNING id"""

_LOCK = """
SELECT id, name, version, status, reason, data::text, finished_at, correlation_id
FROM sagas_sagarecord WHERE id = ANY(%s) ORDER BY id FOR UPDATE"""

_STEPS = """
SELECT saga_id, name, status, step_try, sendings, sent_at, deadline_at, finished_at, failure, compensation, letter_id,
       problem, discarded_letter_id
FROM sagas_steprecord WHERE saga_id = ANY(%s) ORDER BY saga_id, position"""

_SAVE = """
UPDATE sagas_sagarecord AS saga
SET status = given.status, reason = given.reason, data = given.data, finished_at = given.finished_at
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::jsonb[], %s::timestamptz[])
     AS given (id, status, reason, data, finished_at)
WHERE saga.id = given.id"""

_SAVE_STEPS = """
INSERT INTO sagas_steprecord (saga_id, position, name, status, step_try, sendings, sent_at, deadline_at, finished_at,
                              failure, compensation, letter_id, problem, discarded_letter_id)
SELECT * FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::text[], %s::int[], %s::int[], %s::timestamptz[],
                     %s::timestamptz[], %s::timestamptz[], %s::text[], %s::text[], %s::uuid[], %s::text[], %s::uuid[])
ON CONFLICT (saga_id, position) DO UPDATE SET
    status = excluded.status, step_try = excluded.step_try, sendings = excluded.sendings,
    sent_at = excluded.sent_at, deadline_at = excluded.deadline_at, finished_at = excluded.finished_at,
    failure = excluded.failure, compensation = excluded.compensation, letter_id = excluded.letter_id,
    problem = excluded.problem, discarded_letter_id = excluded.discarded_letter_id"""

_NOTE = """
INSERT INTO sagas_messagerecord (saga_id, direction, message_id, type, step, body, at)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::uuid[], %s::text[], %s::text[], %s::jsonb[], %s::timestamptz[])"""


class NewSaga(msgspec.Struct, frozen=True, kw_only=True):
    """A saga that a start message asks for."""

    id: UUID
    name: str
    version: int
    business_key: str
    correlation_id: str


class LoadedSaga(msgspec.Struct, kw_only=True):
    """A locked saga; `stored` is what the database has, `state` what it will have."""

    name: str
    version: int
    correlation_id: str
    stored: SagaState
    state: SagaState


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a saga has received or sends."""

    saga_id: UUID
    direction: str
    envelope: Envelope
    step: str
    body: dict[str, Any]


def begin(sagas: Sequence[NewSaga], *, now: datetime) -> set[UUID]:
    """Create those that do not exist yet, in the open transaction, and return their ids."""
    if not sagas:
        return set()
    with connections[DATABASE].cursor() as cursor:
        cursor.execute(
            _BEGIN,
            [
                now,
                [saga.id for saga in sagas],
                [saga.name for saga in sagas],
                [saga.version for saga in sagas],
                [saga.business_key for saga in sagas],
                [saga.correlation_id for saga in sagas],
            ],
        )
        return {saga_id for (saga_id,) in cursor.fetchall()}


def lock(ids: Iterable[UUID]) -> dict[UUID, LoadedSaga]:
    """Load sagas with their steps and lock them, in the order of their ids, until the transaction ends."""
    wanted = sorted(set(ids))
    with connections[DATABASE].cursor() as cursor:
        cursor.execute(_LOCK, [wanted])
        rows = cursor.fetchall()
        cursor.execute(_STEPS, [wanted])
        steps: dict[UUID, list[StepState]] = {}
        for saga_id, *columns in cursor.fetchall():
            steps.setdefault(saga_id, []).append(_step(*columns))
    found = {}
    for saga_id, name, version, status, reason, data, finished_at, correlation_id in rows:
        state = SagaState(
            id=saga_id,
            status=SagaStatus(status),
            reason=reason,
            data=msgspec.json.decode(data),
            steps=tuple(steps.get(saga_id, ())),
            finished_at=finished_at,
        )
        found[saga_id] = LoadedSaga(
            name=name, version=version, correlation_id=correlation_id, stored=state, state=state
        )
    return found


def _step(
    name: str,
    status: str,
    step_try: int,
    sendings: int,
    sent_at: datetime | None,
    deadline_at: datetime | None,
    finished_at: datetime | None,
    failure: str,
    compensation: str,
    letter_id: UUID | None,
    problem: str,
    discarded_letter_id: UUID | None,
) -> StepState:
    """A row of `_STEPS`, in its order."""
    return StepState(
        name=name,
        status=StepStatus(status),
        step_try=step_try,
        sendings=sendings,
        sent_at=sent_at,
        deadline_at=deadline_at,
        finished_at=finished_at,
        failure=failure,
        compensation=compensation,
        letter_id=letter_id,
        problem=problem,
        discarded_letter_id=discarded_letter_id,
    )


def save_statements(sagas: Iterable[LoadedSaga]) -> list[Statement]:
    """Store what has changed in these sagas."""
    changed = [saga for saga in sagas if saga.state != saga.stored]
    statements: list[Statement] = []
    heads = [saga.state for saga in changed if _head(saga.state) != _head(saga.stored)]
    if heads:
        statements.append(
            (
                _SAVE,
                [
                    [state.id for state in heads],
                    [state.status.value for state in heads],
                    [state.reason for state in heads],
                    [msgspec.json.encode(state.data).decode() for state in heads],
                    [state.finished_at for state in heads],
                ],
            )
        )
    steps = [
        (saga.state.id, position, step)
        for saga in changed
        for position, step in enumerate(saga.state.steps)
        if position >= len(saga.stored.steps) or saga.stored.steps[position] != step
    ]
    if steps:
        statements.append(
            (
                _SAVE_STEPS,
                [
                    [saga_id for saga_id, _, _ in steps],
                    [position for _, position, _ in steps],
                    [step.name for _, _, step in steps],
                    [step.status.value for _, _, step in steps],
                    [step.step_try for _, _, step in steps],
                    [step.sendings for _, _, step in steps],
                    [step.sent_at for _, _, step in steps],
                    [step.deadline_at for _, _, step in steps],
                    [step.finished_at for _, _, step in steps],
                    [step.failure for _, _, step in steps],
                    [step.compensation for _, _, step in steps],
                    [step.letter_id for _, _, step in steps],
                    [step.problem for _, _, step in steps],
                    [step.discarded_letter_id for _, _, step in steps],
                ],
            )
        )
    return statements


def _head(state: SagaState) -> tuple[Any, ...]:
    return state.status, state.reason, state.data, state.finished_at


def note_statement(notes: Sequence[Note]) -> Statement:
    """Keep messages with their sagas, in order."""
    return _NOTE, [
        [note.saga_id for note in notes],
        [note.direction for note in notes],
        [note.envelope.message_id for note in notes],
        [note.envelope.type for note in notes],
        [note.step for note in notes],
        [msgspec.json.encode(note.body).decode() for note in notes],
        [note.envelope.occurred_at for note in notes],
    ]
