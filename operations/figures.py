"""What the desk's first page asks the databases: one statement for each, answered as one document.

Tables grow to millions of rows: each part is answered from an index and counts no further than the limits below.
"""

from datetime import datetime, timedelta

import msgspec
from django.conf import settings
from django.db import connections

from messaging.gaps import GAPS, Gap

MOST_OUTBOX = 1_000
"""Rows of an outbox that are counted, due or not; above that the database's own estimate is told."""
MOST = 10_000
"""Orders under way, and sagas, that are counted."""
MOST_OF_THE_DAY = 50_000
"""Orders of the last day that are read for its chart, the newest."""
MOST_GAPS = 20
"""As many are listed; `manage.py streams gaps` lists all."""
GAP_PATIENCE = timedelta(seconds=10)
"""A gap closes by itself in less; one that is older is worth a person's look."""
_LONGEST = 2_000
"""Milliseconds that a database may take."""


class DueRows(msgspec.Struct, frozen=True, kw_only=True):
    """Outbox rows of one service that ought to have been sent."""

    service: str
    rows: int
    oldest_at: datetime


class RefusedRows(msgspec.Struct, frozen=True, kw_only=True):
    """Outbox rows of one service that the broker has refused or returned."""

    service: str
    rows: int


class OpenBreaker(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway that a service leaves alone; its messages wait."""

    service: str
    gateway: str
    since: datetime


class OrdersOfAnHour(msgspec.Struct, frozen=True, kw_only=True):
    """Orders that were placed in the hour that begins then; `took` are seconds to the end: of half of them, of 95 %."""

    hour: datetime
    pending: int
    confirmed: int
    cancelled: int
    refunded: int = 0
    took: tuple[float, float] | None


class OrderFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Orders under way, and those of the last day by hour, oldest first, without hours in which there was none.

    `counted_since` is where the day's orders were too many: the hours before are not told.
    """

    pending: int
    oldest_pending_at: datetime | None
    hours: list[OrdersOfAnHour]
    counted_since: datetime | None

    def of_the_day(self, status: str) -> int:
        """How many of the orders that are told of have this status."""
        return sum(getattr(hour, status) for hour in self.hours)


class DeskFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Of `default`: sagas that are not finished by status, and bulk jobs that are not by state.

    `held_up` are those of the sagas that are `overdue`, or `withheld` by a pause switch.
    """

    sagas: dict[str, int]
    jobs: dict[str, int]
    held_up: dict[str, int] = {}


class DatabaseFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What one database holds. `rows` estimates the whole outbox where more than `MOST_OUTBOX` rows are there.

    `orders` is there in the orders' database, `desk` in `default`.
    """

    due: list[DueRows]
    later: int
    refused: list[RefusedRows]
    rows: int
    breakers: list[OpenBreaker]
    gaps: list[Gap]
    orders: OrderFigures | None = None
    desk: DeskFigures | None = None


_EVERYWHERE = {
    "due": """
        SELECT coalesce(json_agg(found), '[]') FROM (
            SELECT service, count(*) AS rows, min(available_at) AS oldest_at
            FROM (SELECT service, available_at FROM messaging_outboxmessage
                  WHERE available_at <= %(now)s ORDER BY available_at, id LIMIT %(most_outbox)s) AS oldest
            GROUP BY service ORDER BY min(available_at)) AS found""",
    "later": """
        SELECT count(*) FROM (SELECT 1 FROM messaging_outboxmessage
                              WHERE available_at > %(now)s LIMIT %(most_outbox)s) AS later""",
    "refused": """
        SELECT coalesce(json_agg(found), '[]') FROM (
            SELECT service, count(*) AS rows
            FROM (SELECT service FROM messaging_outboxmessage
                  WHERE failures > 0 LIMIT %(most_outbox)s) AS refused
            GROUP BY service ORDER BY service) AS found""",
    "rows": """
        SELECT greatest(reltuples, 0)::bigint FROM pg_class
        WHERE oid = 'messaging_outboxmessage'::regclass""",
    "breakers": """
        SELECT coalesce(json_agg(found), '[]') FROM (
            SELECT service, gateway, opened_at AS since FROM messaging_circuitbreaker
            WHERE state = 'open' ORDER BY service, gateway) AS found""",
    "gaps": f"""
        SELECT coalesce(json_agg(found), '[]') FROM ({GAPS}) AS found""",  # noqa: S608  # our own text only
}
_OF_ORDERS = {
    "orders": """
        SELECT json_build_object(
            'pending', (SELECT count(*) FROM (SELECT 1 FROM orders_order
                                              WHERE status = 'pending' LIMIT %(most)s) AS pending),
            'oldest_pending_at', (SELECT min(placed_at) FROM orders_order WHERE status = 'pending'),
            'counted_since', (SELECT placed_at FROM orders_order WHERE placed_at >= %(since)s
                              ORDER BY placed_at DESC OFFSET %(most_of_the_day)s LIMIT 1),
            'hours', (
                SELECT coalesce(json_agg(found), '[]') FROM (
                    SELECT date_trunc('hour', placed_at, 'UTC') AS hour,
                        count(*) FILTER (WHERE status = 'pending') AS pending,
                        count(*) FILTER (WHERE status IN ('confirmed', 'cancelling')) AS confirmed,
                        count(*) FILTER (WHERE status = 'cancelled') AS cancelled,
                        count(*) FILTER (WHERE status = 'refunded') AS refunded,
                        percentile_disc(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY seconds) AS took
                    FROM (SELECT placed_at, status,
                                 CASE WHEN status <> 'refunded'
                                      THEN extract(epoch FROM finished_at - placed_at)::float8 END AS seconds
                          FROM orders_order WHERE placed_at >= %(since)s
                          ORDER BY placed_at DESC LIMIT %(most_of_the_day)s) AS day
                    GROUP BY 1 ORDER BY 1) AS found))""",
}
_OF_DEFAULT = {
    "desk": """
        SELECT json_build_object(
            'sagas', (SELECT coalesce(json_object_agg(status, number), '{}') FROM (
                SELECT status, count(*) AS number
                FROM (SELECT status FROM sagas_sagarecord WHERE finished_at IS NULL LIMIT %(most)s) AS unfinished
                GROUP BY status) AS found),
            'held_up', json_build_object(
                'overdue', (SELECT count(*) FROM (
                    SELECT 1 FROM sagas_sagarecord WHERE is_overdue LIMIT %(most)s) AS found),
                'withheld', (SELECT count(*) FROM (
                    SELECT 1 FROM sagas_sagarecord WHERE is_withheld LIMIT %(most)s) AS found)),
            'jobs', (SELECT coalesce(json_object_agg(state, number), '{}') FROM (
                SELECT state, count(*) AS number FROM deadletters_letterjob
                WHERE finished_at IS NULL GROUP BY state) AS found))""",
}


def read(database: str, *, now: datetime, since: datetime) -> DatabaseFigures:
    """What the database holds at `now`, with the orders since then; raises Django's Error where it cannot be asked."""
    parts = dict(_EVERYWHERE)
    if database == settings.SERVICES["orders"]:
        parts |= _OF_ORDERS
    if database == "default":
        parts |= _OF_DEFAULT
    document = ", ".join(f"'{name}', ({sql})" for name, sql in parts.items())
    asked = {
        "now": now,
        "since": since,
        "services": [name for name, alias in settings.SERVICES.items() if alias == database],
        "before": now - GAP_PATIENCE,
        "limit": MOST_GAPS,
        "most": MOST,
        "most_outbox": MOST_OUTBOX,
        "most_of_the_day": MOST_OF_THE_DAY,
        "longest": _LONGEST,
    }
    with connections[database].cursor() as cursor:
        cursor.execute(
            f"SET LOCAL statement_timeout = %(longest)s; SELECT json_build_object({document})::text",
            asked,
        )
        (answer,) = cursor.fetchone()
    return msgspec.json.decode(answer, type=DatabaseFigures)
