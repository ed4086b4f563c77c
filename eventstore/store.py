"""Append to streams, read them, fold them.

A stream is the history of one thing (`order-<uuid>`), its version the number of its last event, 0 where there
is none. Two writers that hold the same version collide on a unique constraint: one wins, the other decides anew.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from django.db import IntegrityError, connections

from contracts.catalogue import MESSAGE_TYPES
from contracts.message import Message
from eventstore.errors import ConcurrentAppend, UnknownEventType

State = TypeVar("State")

Statement = tuple[str, list[Any]]
"""SQL and its parameters. psycopg2 sends several statements, joined by `;`, in one round trip."""

_APPEND = """
INSERT INTO eventstore_storedevent (stream, version, type, data, metadata, occurred_at)
SELECT * FROM unnest(%s::text[], %s::int[], %s::text[], %s::jsonb[], %s::jsonb[], %s::timestamptz[])"""

_READ = """
SELECT position, stream, version, type, data::text, metadata::text, occurred_at
FROM eventstore_storedevent
WHERE stream = %s AND version > %s AND (%s::int IS NULL OR version <= %s)
  AND (%s::timestamptz IS NULL OR occurred_at <= %s)
ORDER BY version"""


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event about to be appended: its version in the stream is decided, its position is not."""

    stream: str
    version: int
    event: Message
    metadata: dict[str, Any]
    occurred_at: datetime


class RecordedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it was read back."""

    position: int
    stream: str
    version: int
    event: Message
    metadata: dict[str, Any]
    occurred_at: datetime


def append_statement(events: Sequence[NewEvent]) -> Statement:
    """The one statement that appends these events, for a caller that joins it with others."""
    return _APPEND, [
        [new.stream for new in events],
        [new.version for new in events],
        [new.event.wire_type for new in events],
        [msgspec.json.encode(new.event).decode() for new in events],
        [msgspec.json.encode(new.metadata).decode() for new in events],
        [new.occurred_at for new in events],
    ]


def append(
    *,
    stream: str,
    events: Sequence[Message],
    expected_version: int,
    occurred_at: datetime,
    database: str,
    metadata: dict[str, Any] | None = None,
) -> int:
    """Append the events to the stream in the caller's transaction and return its new version.

    Raises `ConcurrentAppend` where the stream is not at `expected_version` any more; the caller's transaction
    is then to be rolled back, as after any refused statement.
    """
    if not events:
        return expected_version
    new = [
        NewEvent(
            stream=stream, version=version, event=event, metadata=metadata or {}, occurred_at=occurred_at
        )
        for version, event in enumerate(events, start=expected_version + 1)
    ]
    try:
        with connections[database].cursor() as cursor:
            cursor.execute(*append_statement(new))
    except IntegrityError as error:
        if not is_collision(error):
            raise
        raise ConcurrentAppend(stream=stream, expected_version=expected_version) from error
    return expected_version + len(new)


def is_collision(error: IntegrityError) -> bool:
    """Whether the database refused an event because the stream already has that version."""
    return "one_event_per_version" in str(error)


def read(
    stream: str,
    *,
    database: str,
    after_version: int = 0,
    up_to_version: int | None = None,
    until: datetime | None = None,
) -> list[RecordedEvent]:
    """The stream's events in order; `until` keeps those that had occurred at that moment.

    Raises `UnknownEventType` where an event's type is not in the contracts of this release.
    """
    with connections[database].cursor() as cursor:
        cursor.execute(_READ, [stream, after_version, up_to_version, up_to_version, until, until])
        return [_recorded(row) for row in cursor.fetchall()]


def fold(evolve: Callable[[State | None, Message], State], events: Iterable[Message]) -> State | None:
    """The state that these events led to; None where there are none."""
    state: State | None = None
    for event in events:
        state = evolve(state, event)
    return state


def _recorded(row: tuple[Any, ...]) -> RecordedEvent:
    position, stream, version, wire_type, data, metadata, occurred_at = row
    message_type = MESSAGE_TYPES.get(wire_type)
    if message_type is None:
        raise UnknownEventType(
            f"Event {version} of stream {stream!r} is a {wire_type!r}, which contracts/ does not define. "
            "Add the type, or run the release that wrote it."
        )
    return RecordedEvent(
        position=position,
        stream=stream,
        version=version,
        event=msgspec.json.decode(data, type=message_type),
        metadata=msgspec.json.decode(metadata),
        occurred_at=occurred_at,
    )
