"""Saga records in set-based SQL: a batch of sagas is loaded and saved in a handful of statements."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.db import connections

from eventstore.store import Statement
from sagas.state import SagaState, SagaStatus, StepState, StepStatus
from sagas.switches import Switch

DATABASE = "default"
REMEMBERED = timedelta(days=7)
"""A pause switch that was lifted longer ago moves no deadline on any more."""

_STEP_COLUMNS = {
    "name": "text",
    "status": "text",
    "step_try": "int",
    "sendings": "int",
    "questions": "int",
    "sent_at": "timestamptz",
    "deadline_at": "timestamptz",
    "counted_at": "timestamptz",
    "is_frozen": "boolean",
    "finished_at": "timestamptz",
    "failure": "text",
    "compensation": "text",
    "key_saga_id": "uuid",
    "letter_id": "uuid",
    "problem": "text",
    "discarded_letter_id": "uuid",
}
"""The fields of `StepState`, which the columns are named after, and their types."""

_HEAD_COLUMNS: dict[str, tuple[str, Callable[[SagaState, datetime], Any]]] = {
    "status": ("text", lambda saga, now: saga.status.value),
    "reason": ("text", lambda saga, now: saga.reason),
    "data": ("jsonb", lambda saga, now: msgspec.json.encode(saga.data).decode()),
    "finished_at": ("timestamptz", lambda saga, now: saga.finished_at),
    "deadline_at": ("timestamptz", lambda saga, now: saga.deadline_at),
    "paused_at": ("timestamptz", lambda saga, now: saga.paused_at),
    "is_withheld": ("boolean", lambda saga, now: saga.is_withheld),
    "stopped_at": ("timestamptz", lambda saga, now: saga.stopped_at),
    "current": (
        "text",
        lambda saga, now: "" if saga.is_final else " ".join(s.name for s in saga.under_way()),
    ),
    "sendings": (
        "int",
        lambda saga, now: 0 if saga.is_final else max((s.sendings for s in saga.under_way()), default=0),
    ),
    "needs_a_person": ("boolean", lambda saga, now: saga.needs_a_person),
    "is_overdue": ("boolean", lambda saga, now: saga.is_overdue(now)),
    "look_at": ("timestamptz", lambda saga, now: saga.next_deadline()),
}
"""The columns of a saga that change, with their types and what is stored in them."""


def _list(columns: Iterable[str], prefix: str = "") -> str:
    return ", ".join(f"{prefix}{column}" for column in columns)


def _arrays(types: Iterable[str]) -> str:
    return ", ".join(f"%s::{kind}[]" for kind in types)


_BEGIN = """
INSERT INTO sagas_sagarecord (id, name, version, business_key, correlation_id, generation, forked_from_id, status,
                              reason, data, started_at)
SELECT id, name, version, business_key, correlation_id, generation, forked_from, 'running', '', '{}'::jsonb, %s
FROM unnest(%s::uuid[], %s::text[], %s::int[], %s::text[], %s::text[], %s::int[], %s::uuid[])
     AS given (id, name, version, business_key, correlation_id, generation, forked_from)
ORDER BY id
ON CONFLICT DO NOTHING
RETURNING id"""

_SWITCHES = """
SELECT jsonb_agg(switch) FROM (
    SELECT kind, name, set_at, lifted_at FROM sagas_pauseswitch
    WHERE lifted_at IS NULL OR lifted_at > %s"""
"""Locked as shared: whoever lifts a switch waits for those who still go by it, and then finds what they held back."""

_READ = """
SELECT id, name, version, status, reason, data::text, finished_at, deadline_at, paused_at, is_withheld, stopped_at,
       correlation_id, business_key, generation, ({switches})::text
FROM sagas_sagarecord WHERE id = ANY(%s) ORDER BY id {lock}"""
_LOCK = _READ.format(switches=_SWITCHES + " FOR SHARE) AS switch", lock="FOR UPDATE")
_LOOK = _READ.format(switches=_SWITCHES + ") AS switch", lock="")

_STEPS = f"""
SELECT saga_id, {_list(_STEP_COLUMNS)}
FROM sagas_steprecord WHERE saga_id = ANY(%s) ORDER BY saga_id, position"""  # noqa: S608

_SAVE = f"""
UPDATE sagas_sagarecord AS saga
SET {", ".join(f"{column} = given.{column}" for column in _HEAD_COLUMNS)}
FROM unnest(%s::uuid[], {_arrays(kind for kind, _ in _HEAD_COLUMNS.values())})
     AS given (id, {_list(_HEAD_COLUMNS)})
WHERE saga.id = given.id"""  # noqa: S608

_SAVE_STEPS = f"""
INSERT INTO sagas_steprecord (saga_id, position, {_list(_STEP_COLUMNS)})
SELECT * FROM unnest(%s::uuid[], %s::int[], {_arrays(_STEP_COLUMNS.values())})
ON CONFLICT (saga_id, position) DO UPDATE SET
    {", ".join(f"{column} = excluded.{column}" for column in _STEP_COLUMNS)}"""  # noqa: S608

_NOTE = """
INSERT INTO sagas_messagerecord (saga_id, direction, message_id, type, step, body, at, noted_at)
SELECT *, %s::timestamptz
FROM unnest(%s::uuid[], %s::text[], %s::uuid[], %s::text[], %s::text[], %s::jsonb[], %s::timestamptz[])"""


class NewSaga(msgspec.Struct, frozen=True, kw_only=True):
    """A saga that a start message asks for, or an operator who has one run again."""

    id: UUID
    name: str
    version: int
    business_key: str
    correlation_id: str
    generation: int = 1
    forked_from: UUID | None = None


class LoadedSaga(msgspec.Struct, kw_only=True):
    """A locked saga; `stored` is what the database has, `state` what it will have."""

    name: str
    version: int
    correlation_id: str
    business_key: str
    generation: int
    stored: SagaState
    state: SagaState


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a saga has been decided on, or that it says; `direction` is that of `MessageRecord`."""

    saga_id: UUID
    direction: str
    message_id: UUID
    type: str
    step: str
    body: dict[str, Any]
    at: datetime


class Locked(msgspec.Struct, frozen=True):
    """Sagas that are locked until the transaction ends, and the pause switches by which they are decided."""

    sagas: dict[UUID, LoadedSaga]
    switches: tuple[Switch, ...]


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
                [saga.generation for saga in sagas],
                [saga.forked_from for saga in sagas],
            ],
        )
        return {saga_id for (saga_id,) in cursor.fetchall()}


def lock(ids: Iterable[UUID], *, now: datetime) -> Locked:
    """Load sagas with their steps and lock them, in the order of their ids, until the transaction ends."""
    return _load(_LOCK, ids, now=now)


def look(ids: Iterable[UUID], *, now: datetime) -> Locked:
    """Load sagas with their steps as they are, without a lock: what is decided on them is a forecast."""
    return _load(_LOOK, ids, now=now)


def _load(sql: str, ids: Iterable[UUID], *, now: datetime) -> Locked:
    wanted = sorted(set(ids))
    with connections[DATABASE].cursor() as cursor:
        cursor.execute(sql, [now - REMEMBERED, wanted])
        rows = cursor.fetchall()
        cursor.execute(_STEPS, [wanted])
        steps: dict[UUID, list[StepState]] = {}
        for saga_id, *columns in cursor.fetchall():
            steps.setdefault(saga_id, []).append(_step(columns))
    found = {}
    for saga_id, name, version, status, reason, data, *more in rows:
        finished_at, deadline_at, paused_at, is_withheld, stopped_at, correlation_id, *more = more
        business_key, generation, _ = more
        state = SagaState(
            id=saga_id,
            status=SagaStatus(status),
            reason=reason,
            data=msgspec.json.decode(data),
            steps=tuple(steps.get(saga_id, ())),
            finished_at=finished_at,
            deadline_at=deadline_at,
            paused_at=paused_at,
            is_withheld=is_withheld,
            stopped_at=stopped_at,
        )
        found[saga_id] = LoadedSaga(
            name=name,
            version=version,
            correlation_id=correlation_id,
            business_key=business_key,
            generation=generation,
            stored=state,
            state=state,
        )
    switches = rows[0][-1] if rows else None
    return Locked(found, msgspec.json.decode(switches, type=tuple[Switch, ...]) if switches else ())


def _step(columns: Sequence[Any]) -> StepState:
    fields = dict(zip(_STEP_COLUMNS, columns, strict=True))
    return StepState(**{**fields, "status": StepStatus(fields["status"])})


def save_statements(sagas: Iterable[LoadedSaga], *, now: datetime) -> list[Statement]:
    """Store what has changed in these sagas."""
    changed = [saga for saga in sagas if saga.state != saga.stored]
    statements: list[Statement] = []
    if changed:
        columns = [[stored(saga.state, now) for saga in changed] for _, stored in _HEAD_COLUMNS.values()]
        statements.append((_SAVE, [[saga.state.id for saga in changed], *columns]))
    steps = [
        (saga.state.id, position, step)
        for saga in changed
        for position, step in enumerate(saga.state.steps)
        if position >= len(saga.stored.steps) or saga.stored.steps[position] != step
    ]
    if steps:
        columns = [[_stored(step, column) for _, _, step in steps] for column in _STEP_COLUMNS]
        statements.append(
            (
                _SAVE_STEPS,
                [
                    [saga_id for saga_id, _, _ in steps],
                    [position for _, position, _ in steps],
                    *columns,
                ],
            )
        )
    return statements


def _stored(step: StepState, column: str) -> Any:
    return step.status.value if column == "status" else getattr(step, column)


_FIND = """
SELECT saga.id, saga.name, saga.business_key, saga.finished_at IS NULL
FROM unnest(%s::text[], %s::text[]) AS wanted (name, business_key)
JOIN sagas_sagarecord AS saga ON saga.name = wanted.name AND saga.business_key = wanted.business_key"""


def find(wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[UUID]]:
    """The unfinished sagas of these names and business keys; none for a pair of which all have ended.

    A pair of which there never was a saga is not among the keys.
    """
    pairs = sorted(set(wanted))
    found: dict[tuple[str, str], list[UUID]] = {}
    with connections[DATABASE].cursor() as cursor:
        cursor.execute(_FIND, [[name for name, _ in pairs], [key for _, key in pairs]])
        for saga_id, name, key, is_unfinished in cursor.fetchall():
            found.setdefault((name, key), []).extend([saga_id] if is_unfinished else [])
    return found


def note_statement(notes: Sequence[Note], *, now: datetime) -> Statement:
    """Keep messages with their sagas, in order."""
    return _NOTE, [
        now,
        [note.saga_id for note in notes],
        [note.direction for note in notes],
        [note.message_id for note in notes],
        [note.type for note in notes],
        [note.step for note in notes],
        [msgspec.json.encode(note.body).decode() for note in notes],
        [note.at for note in notes],
    ]
