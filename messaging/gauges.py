"""What is read from the databases whenever `/metrics` is asked for: one statement for each database.

A package registers the questions about its own tables. Tables grow to millions of rows, so a question is answered from
an index, and counts at most `MOST` rows: above that the figure says "many", and its age says the rest.
"""

from collections.abc import Sequence

import msgspec
from django.db import connections

MOST = 10_000
"""No count goes beyond it."""
_LONGEST = 5_000
"""Milliseconds that a database may take."""


class Gauge(msgspec.Struct, frozen=True, kw_only=True):
    """A figure for each combination of `labels`; there are few of them, known beforehand, and none is a row's id."""

    name: str
    help: str
    labels: tuple[str, ...]


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """Gauges that one SELECT answers. Each row: the labels as text[], then a number (or NULL) for each gauge.

    With `only_in` it is asked in the database of that alias only. The SELECT becomes part of a greater one: it ends
    without a semicolon, and counts at most %(most)s rows.
    """

    gauges: tuple[Gauge, ...]
    sql: str
    only_in: str | None = None


class Figure(msgspec.Struct, frozen=True):
    """One value of a gauge."""

    gauge: Gauge
    labels: tuple[str, ...]
    value: float


_questions: list[Question] = []


def register(question: Question) -> None:
    """Have the question asked at every scrape."""
    _questions.append(question)


def gauges() -> list[Gauge]:
    """Every gauge that is registered."""
    return [gauge for question in _questions for gauge in question.gauges]


def read(database: str) -> list[Figure]:
    """The figures of one database, by one statement; raises Django's Error where it cannot be asked."""
    asked = [question for question in _questions if question.only_in in (None, database)]
    parts = [
        f"SELECT {number}, labels, ARRAY[{_columns(question.gauges)}]::float8[] "  # noqa: S608  # our own text only
        f"FROM ({question.sql}) AS found (labels, {_columns(question.gauges)})"
        for number, question in enumerate(asked)
    ]
    with connections[database].cursor() as cursor:
        cursor.execute(
            "SET LOCAL statement_timeout = %(longest)s; " + " UNION ALL ".join(parts),
            {"most": MOST, "longest": _LONGEST},
        )
        rows = cursor.fetchall()
    return [
        Figure(gauge, tuple(labels), value)
        for number, labels, values in rows
        for gauge, value in zip(asked[number].gauges, values, strict=True)
        if value is not None
    ]


def _columns(gauges: Sequence[Gauge]) -> str:
    return ", ".join(f"value_{number}" for number in range(len(gauges)))


def _gauge(name: str, help_text: str, *labels: str) -> Gauge:
    return Gauge(name=f"makegood_{name}", help=help_text, labels=labels)


register(
    Question(
        gauges=(
            _gauge("outbox_due", f"Outbox rows that are due, of the {MOST} oldest of a database.", "service"),
            _gauge("outbox_oldest_due_seconds", "How long the oldest of them has been due.", "service"),
        ),
        sql="""
            SELECT ARRAY[service], count(*), extract(epoch FROM now() - min(available_at))
            FROM (SELECT service, available_at FROM messaging_outboxmessage
                  WHERE available_at <= now() ORDER BY available_at, id LIMIT %(most)s) AS due
            GROUP BY service""",
    )
)
register(
    Question(
        gauges=(
            _gauge(
                "outbox_rows_estimated",
                "Outbox rows, due now or later, as the database's statistics have it.",
                "database",
            ),
        ),
        sql="""
            SELECT ARRAY[current_database()::text], greatest(reltuples, 0)
            FROM pg_class WHERE oid = 'messaging_outboxmessage'::regclass""",
    )
)
register(
    Question(
        gauges=(
            _gauge(
                "outbox_refused",
                "Outbox rows that the broker has refused or returned at least once.",
                "service",
            ),
        ),
        sql="""
            SELECT ARRAY[service], count(*)
            FROM (SELECT service FROM messaging_outboxmessage WHERE failures > 0 LIMIT %(most)s) AS refused
            GROUP BY service""",
    )
)
register(
    Question(
        gauges=(
            _gauge(
                "outbox_waiting_for_gateway",
                "Outbox rows that wait for a circuit breaker to close.",
                "gateway",
            ),
        ),
        sql="""
            SELECT ARRAY[waits_for], count(*)
            FROM (SELECT waits_for FROM messaging_outboxmessage WHERE waits_for <> '' LIMIT %(most)s) AS waiting
            GROUP BY waits_for""",
    )
)
register(
    Question(
        gauges=(
            _gauge("circuit_breaker_open", "1 while a gateway is not asked, else 0.", "service", "gateway"),
            _gauge("circuit_breaker_failures", "Failures of a gateway in a row.", "service", "gateway"),
        ),
        sql="""
            SELECT ARRAY[service, gateway], CASE state WHEN 'open' THEN 1 ELSE 0 END, failures
            FROM messaging_circuitbreaker""",
    )
)
register(
    Question(
        gauges=(
            _gauge("held_back", f"Events that wait for their predecessor, of the {MOST} oldest.", "consumer"),
            _gauge("held_back_oldest_seconds", "How long the oldest of them has waited.", "consumer"),
        ),
        sql="""
            SELECT ARRAY[consumer], count(*), extract(epoch FROM now() - min(held_at))
            FROM (SELECT consumer, held_at FROM messaging_heldbackmessage ORDER BY held_at LIMIT %(most)s) AS held
            GROUP BY consumer""",
    )
)
register(
    Question(
        gauges=(
            _gauge(
                "gateway_calls_expired",
                "Calls to a gateway that were begun, whose outcome is unknown, and whose lease has ended.",
                "consumer",
            ),
        ),
        sql="""
            SELECT ARRAY[consumer], count(*)
            FROM (SELECT consumer FROM messaging_idempotencykey
                  WHERE state = 'started' AND lease_until < now() LIMIT %(most)s) AS expired
            GROUP BY consumer""",
    )
)
register(
    Question(
        gauges=(
            _gauge("attempts_failed_lately", "Attempts that failed in the last five minutes.", "consumer"),
            _gauge("attempts_given_up_lately", "Those of them that were the last.", "consumer"),
        ),
        sql="""
            SELECT ARRAY[consumer], count(*), count(*) FILTER (WHERE next_attempt_at IS NULL)
            FROM (SELECT consumer, next_attempt_at FROM messaging_failedattempt
                  WHERE failed_at > now() - interval '5 minutes' ORDER BY failed_at DESC LIMIT %(most)s) AS lately
            GROUP BY consumer""",
    )
)
