"""The rows of a timeline as they stand on the page: a bar for each, and what it says in words."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sagas.admin.timeline import Kind, Row, span, words

_WIDTH, _HEIGHT, _LEAST = 1000, 14, 12
_TITLES = {
    Kind.STEP: "{}",
    Kind.UNDO: "↩ {}",
    Kind.PAUSED: "paused {}",
    Kind.HELD_BACK: "{}, held back",
}


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table."""

    title: str
    drawing: SafeString
    words: str


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """All rows, and how much time they are drawn for."""

    bars: list[Bar]
    whole: str


def chart(found: Sequence[Row], *, begin: datetime, now: datetime, end: datetime | None) -> Chart:
    """The rows between the begin of the saga and its end, or now; where one began earlier, from there."""
    first = min((begin, *(row.begin for row in found)))
    last = max((end or now, *(row.end for row in found if row.end)))
    bars = [
        Bar(
            title=_TITLES[row.kind].format(row.name),
            drawing=_drawn(row, first=first, last=last),
            words=words(row, now=now),
        )
        for row in found
    ]
    return Chart(bars=bars, whole=span(last - first))


def _drawn(row: Row, *, first: datetime, last: datetime) -> SafeString:
    """Hidden from who hears the page: the words beside it say the same. It is stretched to the width of its cell."""
    whole = max((last - first).total_seconds(), 0.001)

    def across(at: datetime) -> int:
        return round(_WIDTH * max(0.0, min(1.0, (at - first).total_seconds() / whole)))

    length = max(_LEAST, across(row.end or last) - across(row.begin))
    begin = min(across(row.begin), _WIDTH - length)
    marks = [("mark again", at) for at in row.sent[1:]]
    marks += [("mark asked", at) for at in row.asked]
    marks += [("mark missed", at) for at in row.missed]
    return format_html(
        '<svg class="bar {}" aria-hidden="true" focusable="false" viewBox="0 0 {} {}" preserveAspectRatio="none">'
        '<rect class="ground" x="0" y="{}" width="{}" height="1"/>'
        '<rect class="{}" x="{}" y="1" width="{}" height="{}"/>'
        "{}</svg>",
        f"tone-{_tone(row)}",
        _WIDTH,
        _HEIGHT,
        _HEIGHT - 1,
        _WIDTH,
        "length" if row.end else "length open",
        begin,
        length,
        _HEIGHT - 2,
        format_html_join(
            "",
            '<rect class="{}" x="{}" y="0" width="3" height="{}"/>',
            ((name, min(across(at), _WIDTH - 3), _HEIGHT) for name, at in marks),
        ),
    )


def _tone(row: Row) -> str:
    if row.kind in (Kind.PAUSED, Kind.HELD_BACK):
        return "quiet"
    if row.is_refused or row.is_given_up:
        return "bad"
    if row.end is None:
        return "waiting"
    return "undone" if row.kind is Kind.UNDO else "good"
