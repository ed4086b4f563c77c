"""Times as people say them."""

from datetime import UTC, datetime, timedelta

import pytest

from eventstore.admin_columns import moment
from eventstore.relative_times import relative, span

NOW = datetime(2026, 11, 23, 12, 0, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ago", "said"),
    [
        (timedelta(), "just now"),
        (timedelta(seconds=4.9), "just now"),
        (timedelta(seconds=5), "5 s ago"),
        (timedelta(seconds=59.9), "59 s ago"),
        (timedelta(minutes=1), "1 min ago"),
        (timedelta(minutes=59, seconds=59), "59 min ago"),
        (timedelta(hours=1), "1 h ago"),
        (timedelta(hours=23, minutes=59), "23 h ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=29, hours=23), "29 days ago"),
        (timedelta(days=30), None),
        (timedelta(seconds=-0.5), "just now"),
        (timedelta(seconds=-3), "in 3 s"),
        (timedelta(minutes=-5), "in 5 min"),
        (timedelta(hours=-3, minutes=-20), "in 3 h"),
        (timedelta(days=-1), "in 1 day"),
        (timedelta(days=-30), None),
    ],
)
def test_how_far_away_is_told_in_whole_units_never_rounded_up(ago, said):
    assert relative(NOW - ago, now=NOW) == said


def test_a_length_of_time_is_never_negative():
    assert span(timedelta(seconds=-3)) == "0 s"


def test_the_exact_time_is_what_the_mouse_shows():
    shown = moment(NOW - timedelta(minutes=5), now=NOW)

    assert (
        shown == '<time datetime="2026-11-23T11:55:07+00:00" title="2026-11-23 11:55:07 UTC">5 min ago</time>'
    )


def test_what_is_a_month_away_is_exact():
    assert ">2026-10-01 09:30:00</time>" in moment(datetime(2026, 10, 1, 9, 30, tzinfo=UTC), now=NOW)


def test_where_the_exact_time_is_the_point_it_stands_there():
    assert ">2026-11-23 12:00:07.000</time>" in moment(NOW, is_precise=True, now=NOW)


def test_no_time_is_a_dash():
    assert moment(None) == "–"
