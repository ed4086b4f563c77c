"""Gaps in streams: events that an ordered consumer waits for, and how an operator gives up one that never comes."""

import logging
from datetime import datetime

import msgspec
from django.conf import settings
from django.db import connections

from messaging import sequence_gate
from messaging.errors import MessagingError
from messaging.ordering import Place
from messaging.unit_of_work import unit_of_work

log = logging.getLogger(__name__)

GAPS = """
SELECT consumer AS service, stream, position.last_sequence + 1 AS first, min(sequence) - 1 AS last,
    count(*) AS held, min(held_at) AS since
FROM messaging_heldbackmessage JOIN messaging_streamposition AS position USING (consumer, stream)
WHERE consumer = ANY(%(services)s)
GROUP BY consumer, stream, position.last_sequence HAVING min(held_at) <= %(before)s
ORDER BY min(held_at) LIMIT %(limit)s"""
"""The fields of `Gap`, for services that share a database."""

_HELD_UP_TO = """
SELECT min(sequence) FROM messaging_heldbackmessage WHERE consumer = %s AND stream = %s AND sequence <= %s"""

_IS_KNOWN = "SELECT last_sequence FROM messaging_streamposition WHERE consumer = %s AND stream = %s"

_RECORD = """
INSERT INTO messaging_skippedevents (consumer, stream, first_sequence, last_sequence, reason, skipped_by, skipped_at)
VALUES (%s, %s, %s, %s, %s, %s, %s)"""


class CannotSkip(MessagingError):
    """There is nothing to skip there, or it would lose a message that has arrived."""


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """The service waits for the numbers `first` to `last` of the stream; `held` messages behind them wait with it."""

    service: str
    stream: str
    first: int
    last: int
    held: int
    since: datetime


def gaps(service: str, *, before: datetime, limit: int = 1000) -> list[Gap]:
    """Where something has been held back since `before`, the oldest first."""
    with connections[settings.SERVICES[service]].cursor() as cursor:
        cursor.execute(GAPS, {"services": [service], "before": before, "limit": limit})
        return [
            Gap(service=name, stream=stream, first=first, last=last, held=held, since=since)
            for name, stream, first, last, held, since in cursor.fetchall()
        ]


def skip(service: str, stream: str, *, up_to: int, reason: str, by: str) -> Place:
    """Give up the events that the service waits for in this stream, up to this number; returns the first of them.

    They are never handled, a copy or a replay of them is passed over as seen, and what is held back behind them goes
    on. Who gave them up, and why, is recorded in the same transaction. Raises `CannotSkip` where nothing is missing up
    to there, or where one of them has arrived and is held back.
    """
    if not reason.strip():
        raise CannotSkip("Say why the events are given up: the reason is kept.")
    with unit_of_work(service) as work, connections[work.database].cursor() as cursor:
        cursor.execute(_IS_KNOWN, [service, stream])
        if cursor.fetchone() is None:
            raise CannotSkip(f"{service} knows no stream {stream!r}; `streams gaps` lists what it waits for.")
        last = sequence_gate.lock(service, stream, starts_after=0)
        if up_to <= last:
            raise CannotSkip(f"{service} has come to number {last} of {stream!r}: {up_to} is behind it.")
        cursor.execute(_HELD_UP_TO, [service, stream, up_to])
        (held,) = cursor.fetchone()
        if held is not None:
            raise CannotSkip(
                f"Number {held} of {stream!r} has arrived and waits: skip up to {held - 1}, and it goes on."
            )
        for statement in sequence_gate.advance_statements(Place(stream, up_to), work=work):
            work.add_statement(statement)
        work.add_statement((_RECORD, [service, stream, last + 1, up_to, reason, by, work.now]))
    log.warning("%s: %s gave up %s to %s of %s: %s", service, by, last + 1, up_to, stream, reason)
    return Place(stream, last + 1)
