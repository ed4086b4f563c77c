"""Values become shapes that anybody can read: with colours, without them, or as a table."""

import re
from xml.etree import ElementTree

import pytest

from operations.charts import Look, Series, lines, nothing, stacked_bars, top_of

SVG = "{http://www.w3.org/2000/svg}"


def bars(*values_by_series: list[int], labels: list[str] | None = None):
    names = ("confirmed", "cancelled", "pending")
    looks = (Look.GOOD, Look.UNDONE, Look.WAITING)
    series = [
        Series(name=name, look=look, values=values)
        for name, look, values in zip(names, looks, values_by_series, strict=False)
    ]
    labels = labels or [f"{hour:02}:00" for hour in range(len(values_by_series[0]))]
    return stacked_bars(
        key="orders", title="Orders", sentence="Many.", labels=labels, labels_are="Hour", series=series
    )


def parsed(chart) -> ElementTree.Element:
    return ElementTree.fromstring(chart.svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" '))


@pytest.mark.parametrize(
    ("value", "top"),
    [(0, 1), (1, 1), (1.5, 2), (3, 5), (7, 10), (10, 10), (11, 20), (180, 200), (4321, 5000), (0.03, 0.05)],
)
def test_an_axis_ends_at_a_round_number_that_is_not_below_the_value(value, top):
    assert top_of(value) == pytest.approx(top)


def test_bars_stand_on_each_other_and_stay_inside_the_plot():
    svg = parsed(bars([3, 0], [1, 2], [1, 0]))

    first, second = svg.findall(f"./{SVG}g")
    heights = [(float(rect.get("y")), float(rect.get("height"))) for rect in first.findall(f"{SVG}rect")]
    for (upper, height), (lower, _) in zip(heights[1:], heights, strict=False):
        assert upper + height == pytest.approx(lower)
    assert len(second.findall(f"{SVG}rect")) == 1
    assert heights[-1][0] >= 12


def test_a_bar_says_its_numbers_and_each_series_has_a_pattern_of_its_own():
    svg = parsed(bars([1200], [1], [0]))

    (bar,) = svg.findall(f"./{SVG}g")
    assert bar.find(f"{SVG}title").text == "00:00: 1,200 confirmed, 1 cancelled, 0 pending"
    assert [rect.get("fill") for rect in bar.findall(f"{SVG}rect")] == [
        "url(#orders-good)",
        "url(#orders-undone)",
    ]
    patterns = [pattern.get("id") for pattern in svg.iter(f"{SVG}pattern")]
    assert patterns == ["orders-good", "orders-undone", "orders-waiting"]


def test_one_among_thousands_is_still_seen():
    svg = parsed(bars([9000], [1]))

    (bar,) = svg.findall(f"./{SVG}g")
    assert float(bar.findall(f"{SVG}rect")[1].get("height")) >= 1


def test_a_chart_has_a_name_a_description_and_a_table_and_no_style():
    chart = bars([3, 1], [0, 0])

    svg = parsed(chart)
    assert svg.get("role") == "img"
    assert svg.get("aria-labelledby") == "orders-title orders-desc"
    assert (svg.find(f"{SVG}title").text, svg.find(f"{SVG}desc").text) == ("Orders", "Many.")
    assert chart.columns == ("confirmed", "cancelled")
    assert chart.rows == (("00:00", ("3", "0")), ("01:00", ("1", "0")))
    assert not re.search(r"style|<script", chart.svg)


def test_the_last_hour_is_always_named():
    chart = bars([1] * 24)

    names = [text.text for text in parsed(chart).findall(f"{SVG}text") if text.get("text-anchor") == "middle"]
    assert names == ["03:00", "07:00", "11:00", "15:00", "19:00", "23:00"]


def test_the_axis_has_room_for_great_numbers():
    svg = parsed(bars([43_210], [0]))

    names = [text.text for text in svg.findall(f"{SVG}text") if text.get("text-anchor") == "end"]
    assert names == ["0", "25k", "50k"]


def test_words_of_others_are_escaped():
    chart = stacked_bars(
        key="orders",
        title="<b>",
        sentence="a & b",
        labels=["<i>"],
        labels_are="Hour",
        series=[Series(name="<u>", look=Look.BAD, values=[1])],
    )

    assert parsed(chart).find(f"{SVG}title").text == "<b>"


def test_a_line_is_broken_where_nothing_is_known():
    usual = Series(name="half", look=Look.USUAL, values=[1, 2, None, 4, 5, None, 3])
    slowest = Series(name="95 %", look=Look.SLOWEST, values=[2, 3, None, None, None, None, None])

    chart = lines(
        key="times",
        title="Seconds",
        sentence="Few.",
        labels=list("abcdefg"),
        labels_are="Hour",
        series=[usual, slowest],
        unit="s",
    )

    svg = parsed(chart)
    drawn = [line.get("points") for line in svg.findall(f"{SVG}polyline")]
    assert [len(points.split()) for points in drawn] == [2, 2, 2]
    marks = svg.findall(f"{SVG}g")
    assert len(marks) == 5 + 2
    assert {mark[1].tag for mark in marks} == {f"{SVG}circle", f"{SVG}rect"}
    assert chart.rows[2] == ("c", ("–", "–"))
    assert chart.columns == ("half (s)", "95 % (s)")


def test_nothing_is_a_sentence():
    chart = nothing(key="orders", title="Orders", sentence="No order in the last day.")

    assert chart.svg == ""
    assert chart.sentence == "No order in the last day."
