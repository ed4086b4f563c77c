"""Figures become words: what each state is called, and when somebody is to look."""

from datetime import UTC, datetime, timedelta

import pytest

from eventstore.admin_columns import Tone
from operations import tiles
from operations.board import Links
from operations.broker import Broker, Queue
from operations.figures import MOST, MOST_OUTBOX, DatabaseFigures, DueRows, OrderFigures, RefusedRows

NOW = datetime(2026, 11, 23, 12, 0, 7, tzinfo=UTC)
NOWHERE = Links({})
SERVICES = {"orders": "orders", "sagas": "default", "operations": "default"}


def a_database(*, due: int = 0, age: float = 0, refused: int = 0, later: int = 0, rows: int = 0):
    return DatabaseFigures(
        due=[DueRows(service="orders", rows=due, oldest_at=NOW - timedelta(seconds=age))] if due else [],
        later=later,
        refused=[RefusedRows(service="orders", rows=refused)] if refused else [],
        rows=rows,
        breakers=[],
        gaps=[],
    )


@pytest.mark.parametrize(
    ("figures", "tone", "state"),
    [
        (a_database(), Tone.GOOD, "nothing is due"),
        (a_database(due=5, age=2), Tone.GOOD, "moving"),
        (a_database(due=5, age=10), Tone.WAITING, "late"),
        (a_database(due=5, age=60), Tone.BAD, "nobody sends: no relay, or no broker"),
        (a_database(due=5, age=2, refused=1), Tone.BAD, "the broker refuses messages"),
        (None, Tone.BAD, "the database does not answer"),
    ],
)
def test_an_outbox_is_judged_by_its_oldest_row_and_its_refusals(figures, tone, state):
    (row,) = tiles.outboxes({"orders": figures}, SERVICES, now=NOW, links=NOWHERE)

    assert (row.tone, row.state) == (tone, state)


def test_a_long_outbox_is_told_by_the_database_s_estimate():
    known = {"orders": a_database(due=MOST_OUTBOX, age=1, later=MOST_OUTBOX, rows=1_000_000)}

    (row,) = tiles.outboxes(known, SERVICES, now=NOW, links=NOWHERE)
    (unknown,) = tiles.outboxes(
        {"orders": a_database(due=MOST_OUTBOX, age=1)}, SERVICES, now=NOW, links=NOWHERE
    )

    assert row.due == "about 1,000,000"
    assert unknown.due == "1,000+"


@pytest.mark.parametrize(
    ("age", "tone"),
    [(timedelta(seconds=3), Tone.WAITING), (timedelta(minutes=5), Tone.BAD)],
)
def test_an_order_that_is_long_under_way_is_worth_a_look(age, tone):
    figures = OrderFigures(pending=MOST, oldest_pending_at=NOW - age, hours=[], counted_since=None)

    tile = tiles.orders(figures, now=NOW, since=NOW, links=NOWHERE)

    assert (tile.number, tile.tone) == ("10,000+", tone)


def test_the_verdict_names_what_needs_somebody():
    well = tiles.sagas(0, {}, held_up={}, links=NOWHERE)
    bad = tiles.sagas(2, {"running": 1}, held_up={}, links=NOWHERE)
    billing = [
        Queue(name="billing", waiting=1, consumers=0),
        Queue(name="billing.dead", waiting=0, consumers=1),
    ]
    queues = tiles.queues(Broker(queues=billing), links=NOWHERE)

    assert tiles.verdict([well], [], "") == ("All is well: nothing needs you.", Tone.GOOD)
    assert tiles.verdict([bad], queues, "") == ("Have a look at sagas and the queues.", Tone.BAD)
    assert tiles.verdict([well], [], "the broker is away") == ("Have a look at the queues.", Tone.BAD)


def test_links_lead_only_where_somebody_may_go():
    links = Links({"orders.order": "/admin/orders/order/"})

    assert links.to("orders.order") == "/admin/orders/order/"
    assert links.to("orders.order", status__exact="pending") == "/admin/orders/order/?status__exact=pending"
    assert links.to("sagas.sagarecord", attention="person") == ""
