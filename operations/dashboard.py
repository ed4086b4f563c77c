"""The admin's first page: all that is to be seen of the shop at a glance, whatever of it is away."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec
from django.conf import settings
from django.db import Error

from deadletters import tallies
from deadletters.filtering import LetterFilter
from deadletters.models import DeadLetter
from eventstore.admin_columns import Tone
from operations import day_charts, figures, tiles
from operations.board import Links, OutboxRow, QueueRow, Tile
from operations.broker import Asking, Broker
from operations.charts import Chart
from operations.figures import DatabaseFigures
from sagas.models import sagas_for_a_person


class Dashboard(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows, ready for its template."""

    as_of: datetime
    verdict: str
    tone: Tone
    tiles: list[Tile]
    outboxes: list[OutboxRow]
    queues: list[QueueRow]
    broker_problem: str
    charts: list[Chart]


def look(*, now: datetime, open_letters: dict[str, int], lists: Mapping[str, str]) -> Dashboard:
    """Ask the broker and every database once, `default` a few times; what does not answer is said to be away.

    `open_letters` is `tallies.open_by_service()`, which every page of the admin asks already. `lists` are the
    addresses that whoever looks may open: a tile leads nowhere else.
    """
    asking = Asking()
    since = first_hour(now)
    known = {name: _figures(name, now=now, since=since) for name in sorted(set(settings.SERVICES.values()))}
    deaths = tallies.deaths_by_hour(now=now)
    replaying = tallies.count(LetterFilter(state=DeadLetter.State.REPLAYING))
    for_a_person = sagas_for_a_person()[: figures.MOST].count()
    broker = asking.answer()
    return put_together(
        known,
        broker=broker,
        open_letters=open_letters,
        replaying=f"{replaying.number:,}" if replaying.is_exact else f"more than {replaying.number:,}",
        deaths=deaths,
        for_a_person=for_a_person,
        now=now,
        links=Links(lists),
    )


def put_together(
    known: dict[str, DatabaseFigures | None],
    *,
    broker: Broker,
    open_letters: dict[str, int],
    replaying: str,
    deaths: list[int],
    for_a_person: int,
    now: datetime,
    links: Links,
) -> Dashboard:
    """Say it; `known` has None for a database that did not answer."""
    since = first_hour(now)
    of_orders = known[settings.SERVICES["orders"]]
    of_default = known["default"]
    orders = of_orders.orders if of_orders else None
    desk = (of_default.desk if of_default else None) or figures.DeskFigures(sagas={}, jobs={})
    shown = [
        tiles.orders(orders, now=now, since=since, links=links),
        tiles.sagas(for_a_person, desk.sagas, held_up=desk.held_up, links=links),
        tiles.letters(open_letters, replaying, broker, links=links),
        tiles.jobs(desk.jobs, links=links),
        tiles.gateways(known, now=now, links=links),
        tiles.streams(known, settings.SERVICES, now=now, most=figures.MOST_GAPS, links=links),
    ]
    outboxes = tiles.outboxes(known, settings.SERVICES, now=now, links=links)
    queues = tiles.queues(broker, links=links)
    sentence, tone = tiles.verdict(shown, [*outboxes, *queues], broker.problem)
    return Dashboard(
        as_of=now,
        verdict=sentence,
        tone=tone,
        tiles=shown,
        outboxes=outboxes,
        queues=queues,
        broker_problem=broker.problem,
        charts=day_charts.charts(orders, deaths, now=now, since=since),
    )


def first_hour(now: datetime) -> datetime:
    """Where the last day begins on this page: with an hour, so that the one that is not over yet is its 24th."""
    return now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=tallies.HOURS - 1)


def _figures(database: str, *, now: datetime, since: datetime) -> DatabaseFigures | None:
    try:
        return figures.read(database, now=now, since=since)
    except Error:
        return None
