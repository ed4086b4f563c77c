"""The last day, hour by hour."""

from datetime import UTC, datetime, timedelta

from operations.day_charts import charts
from operations.figures import OrderFigures, OrdersOfAnHour

NOW = datetime(2026, 11, 23, 12, 20, tzinfo=UTC)
SINCE = datetime(2026, 11, 22, 13, tzinfo=UTC)


def an_hour(hour: int, **counts: int) -> OrdersOfAnHour:
    told = {"pending": 0, "confirmed": 0, "cancelled": 0, "refunded": 0} | counts
    return OrdersOfAnHour(hour=NOW.replace(hour=hour, minute=0), took=(1.5, 4.0), **told)


def orders_chart(*hours: OrdersOfAnHour, counted_since: datetime | None = None):
    figures = OrderFigures(pending=0, oldest_pending_at=None, hours=list(hours), counted_since=counted_since)
    return charts(figures, [0] * 24, now=NOW, since=SINCE)


def test_an_hour_without_orders_is_told_as_none():
    chart, _, times = orders_chart(an_hour(10, confirmed=3), an_hour(12, pending=1))

    rows = dict(chart.rows)
    assert (rows["10:00"], rows["11:00"], rows["12:00"]) == (
        ("3", "0", "0", "0"),
        ("0", "0", "0", "0"),
        ("0", "0", "0", "1"),
    )
    assert dict(times.rows)["11:00"] == ("–", "–")
    assert chart.sentence == "In the last day: 3 confirmed, 0 cancelled, 0 refunded, 1 pending."


def test_hours_that_were_not_counted_are_not_told_as_empty():
    since = NOW - timedelta(hours=2)

    chart, _, _ = orders_chart(an_hour(10, confirmed=3), an_hour(12, confirmed=9), counted_since=since)

    rows = dict(chart.rows)
    assert (rows["09:00"], rows["10:00"], rows["11:00"]) == (
        ("–",) * 4,
        ("3", "0", "0", "0"),
        ("0", "0", "0", "0"),
    )
    assert chart.sentence.startswith("Since 10:20: 12 confirmed")


def test_the_database_of_orders_may_be_away():
    chart, letters, times = charts(None, [0] * 23 + [2], now=NOW, since=SINCE)

    assert chart.sentence == times.sentence == "The database of orders does not answer."
    assert letters.rows[-1] == ("12:00", ("2",))


def test_seconds_are_written_out_however_long_an_order_took():
    hour = OrdersOfAnHour(
        hour=NOW.replace(hour=12, minute=0), took=(1132.4, 1540.0), pending=0, confirmed=2, cancelled=0
    )

    _, _, times = orders_chart(hour)

    assert "half of the orders within 1,132 s, 95 % within 1,540 s." in times.sentence
    assert ">2k s<" in times.svg
