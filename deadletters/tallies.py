"""How many letters there are, without counting them: sums over the rows that the triggers add.

The triggers write in the transaction that changes the letters, so every snapshot of the database has sums that are
true of the letters in it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from django.db.models import QuerySet

from deadletters.filtering import LetterFilter
from deadletters.models import DeadLetter
from deadletters.statements import answers

HOURS = 24
"""The hours that a sparkline shows, the last of them not over yet."""
HOURS_KEPT = 48
"""Hours that are told apart; folding puts what died before under one time."""
MOST_ORDERS = 1_000
"""Orders that are counted behind a group."""
_STATES = tuple(map(str, DeadLetter.State))
MOST_FOUND = 1_000
"""Letters that are counted where words have to be looked at."""
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""The hour of all deaths that are older than `HOURS_KEPT`, once they are folded."""

IN_HAND = """
SELECT service, sum(letters) FILTER (WHERE state = 'open') AS open,
       sum(letters) FILTER (WHERE state = 'replaying') AS replaying
FROM deadletters_lettertally WHERE state IN ('open', 'replaying')
GROUP BY service"""
"""Of each service: the letters that wait for a person, and those that were sent again; NULL is none."""

_OF_GROUPS = """
SELECT fingerprint, state, service, hour, sum(letters) AS letters
FROM (SELECT fingerprint, state, service, CASE WHEN hour >= %s THEN hour END AS hour, letters
      FROM deadletters_lettertally WHERE fingerprint = ANY(%s)) AS tally
GROUP BY GROUPING SETS ((fingerprint, state), (fingerprint, service), (fingerprint, hour))
HAVING sum(letters) > 0"""

_ORDERS = """
SELECT given.fingerprint, count(*)
FROM unnest(%s::text[]) AS given (fingerprint), LATERAL (
    SELECT DISTINCT correlation_id FROM deadletters_deadletter
    WHERE group_id = given.fingerprint AND state = 'open' AND correlation_id <> ''
    LIMIT %s
) AS orders
GROUP BY given.fingerprint"""

_BY_HOUR = "SELECT hour, sum(letters) FROM deadletters_lettertally WHERE hour >= %s GROUP BY hour"

_COUNT = "SELECT coalesce(sum(letters), 0) FROM deadletters_lettertally WHERE "
_TALLIED = {
    "state": "state = %s",
    "service": "service = %s",
    "fingerprint": "fingerprint = %s",
    "type": "fingerprint IN (SELECT fingerprint FROM deadletters_lettergroup WHERE type = %s)",
}
"""What the tallies know of a filter. A group has one type."""

# Rows that somebody else is folding are left to him; a row that is taken is replaced in the same statement, so that
# there is no moment, and no crash, in which a sum is another one.
_FOLD = """
WITH named AS (
    SELECT id, count(*) OVER (PARTITION BY fingerprint, service, state, told_hour) AS rows, told_hour <> hour AS is_old
    FROM (SELECT id, fingerprint, service, state, hour,
                 CASE WHEN hour < %s THEN %s ELSE hour END AS told_hour
          FROM deadletters_lettertally) AS tally
), taken AS MATERIALIZED (
    SELECT id FROM deadletters_lettertally
    WHERE id IN (SELECT id FROM named WHERE rows > 1 OR is_old)
    ORDER BY id FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM deadletters_lettertally AS tally USING taken WHERE tally.id = taken.id
    RETURNING fingerprint, service, state, CASE WHEN hour < %s THEN %s ELSE hour END AS hour,
              letters
), sums AS (
    INSERT INTO deadletters_lettertally (fingerprint, service, state, hour, letters)
    SELECT fingerprint, service, state, hour, sum(letters) FROM gone GROUP BY 1, 2, 3, 4 HAVING sum(letters) <> 0
    RETURNING id
)
SELECT (SELECT count(*) FROM gone) - (SELECT count(*) FROM sums)"""


class GroupFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one group: letters by state, the services where they died, deaths by hour (oldest first), orders behind open
    letters (at most `MOST_ORDERS`)."""

    by_state: dict[str, int]
    services: list[str]
    by_hour: list[int]
    orders: int


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """How many letters match. Where `is_exact` is false there are more than `number`."""

    number: int
    is_exact: bool


def open_by_service() -> dict[str, int]:
    """How many letters wait for a person, for each service that has any."""
    return {service: int(waiting) for service, waiting, _ in answers((IN_HAND, [])) if waiting}


def of_groups(fingerprints: Sequence[str], *, now: datetime) -> dict[str, GroupFigures]:
    """The figures of these groups, in two statements however many they are; zeros for one that has no letter."""
    hours = _last_hours(now, HOURS)
    states: dict[str, dict[str, int]] = {fingerprint: {} for fingerprint in fingerprints}
    services: dict[str, set[str]] = {fingerprint: set() for fingerprint in fingerprints}
    deaths: dict[str, dict[datetime, int]] = {fingerprint: {} for fingerprint in fingerprints}
    for fingerprint, state, service, hour, letters in answers((_OF_GROUPS, [hours[0], list(fingerprints)])):
        if state is not None:
            states[fingerprint][state] = int(letters)
        elif service is not None:
            services[fingerprint].add(service)
        elif hour is not None:
            deaths[fingerprint][hour] = int(letters)
    orders = dict(answers((_ORDERS, [list(fingerprints), MOST_ORDERS])))
    return {
        fingerprint: GroupFigures(
            by_state={state: states[fingerprint][state] for state in _STATES if state in states[fingerprint]},
            services=sorted(services[fingerprint]),
            by_hour=[deaths[fingerprint].get(hour, 0) for hour in hours],
            orders=orders.get(fingerprint, 0),
        )
        for fingerprint in fingerprints
    }


def deaths_by_hour(*, now: datetime, hours: int = HOURS) -> list[int]:
    """Letters that died in each of the last hours (at most `HOURS_KEPT`), oldest first, whatever became of them."""
    told = _last_hours(now, min(hours, HOURS_KEPT))
    found: dict[Any, Any] = dict(answers((_BY_HOUR, [told[0]])))
    return [int(found.get(hour, 0)) for hour in told]


def count(chosen: LetterFilter, *, most: int = 10_000, meant: QuerySet[DeadLetter] | None = None) -> Counted:
    """How many letters are meant: exact wherever the tallies know, else up to `most`, with a text `MOST_FOUND`.

    `meant` are the letters, where the filter was applied already: a text is then not asked about twice.
    """
    asked = {name: value for name, value in msgspec.structs.asdict(chosen).items() if value}
    if asked.keys() <= _TALLIED.keys():
        conditions = " AND ".join(_TALLIED[name] for name in asked) or "true"
        ((letters,),) = answers((_COUNT + conditions, list(asked.values())))
        return Counted(number=int(letters), is_exact=True)
    most = min(most, MOST_FOUND) if chosen.text else most
    meant = chosen.apply(DeadLetter.objects.all()) if meant is None else meant
    found = meant.order_by()[: most + 1].count()
    return Counted(number=min(found, most), is_exact=found <= most)


def fold(*, now: datetime) -> int:
    """Add up rows of one group, service, state and hour into one; returns how many rows fewer there are.

    The sums stay what they are, whoever reads, writes or folds meanwhile. What died before the last `HOURS_KEPT` hours
    is put under `LONG_AGO`.
    """
    kept_since = _last_hours(now, HOURS_KEPT)[0]
    ((fewer,),) = answers((_FOLD, [kept_since, LONG_AGO] * 2))
    return int(fewer)


def _last_hours(now: datetime, hours: int) -> list[datetime]:
    """The beginnings of the last hours, oldest first, the one that is not over yet among them."""
    this_hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return [this_hour - timedelta(hours=back) for back in reversed(range(hours))]
