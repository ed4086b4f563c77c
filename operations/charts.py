"""Charts as inline SVG: from values to shapes, without a script, a style or another host.

Colours come from the stylesheet's classes, so that dark mode has its own; a pattern, a dash or a marker tells series
apart without them. The numbers themselves are rows of a table, for whoever does not see the picture.
"""

from collections.abc import Sequence
from enum import StrEnum

import msgspec
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH, HEIGHT = 480, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 466, 12, 154
"""The edges of the plot: labels are left of it and below it."""
_GAP = 3
_LEAST = 1.5
"""Height of the smallest bar: one order among thousands is still seen."""
_LABEL_EVERY = 4


class Look(StrEnum):
    """How a series is drawn. Each has a pattern, or a line, of its own."""

    GOOD = "good"
    UNDONE = "undone"
    WAITING = "waiting"
    BAD = "bad"
    USUAL = "usual"
    SLOWEST = "slowest"


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """A value for each label; None where nothing is known."""

    name: str
    look: Look
    values: Sequence[float | None]


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """`svg` is empty where there is nothing to draw: `sentence` then says so. `rows` are the numbers of the table."""

    key: str
    title: str
    sentence: str
    svg: SafeString = SafeString("")
    legend: tuple[tuple[str, SafeString], ...] = ()
    labels_are: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, tuple[str, ...]], ...] = ()


def top_of(value: float) -> float:
    """The round number at which the axis ends: 1, 2 or 5 times a power of ten, at least the value."""
    if value <= 0:
        return 1.0
    power = 1.0
    while power > value:
        power /= 10
    while power * 10 < value:
        power *= 10
    return next(power * step for step in (1, 2, 5, 10) if power * step >= value)


def stacked_bars(
    *,
    key: str,
    title: str,
    sentence: str,
    labels: Sequence[str],
    labels_are: str,
    series: Sequence[Series],
) -> Chart:
    """A bar for each label, made of the series from the bottom up; `key` is unique on the page."""
    sums = [sum(one.values[index] or 0 for one in series) for index in range(len(labels))]
    # An axis of counts has a whole number in its middle too.
    top = max(top_of(max(sums, default=0)), 2)
    width = (_RIGHT - _LEFT) / max(1, len(labels))
    bars = []
    for index, label in enumerate(labels):
        base, shapes = float(_BOTTOM), []
        for one in series:
            value = one.values[index] or 0
            if not value:
                continue
            height = max(_LEAST, value / top * (_BOTTOM - _TOP))
            base -= height
            shapes.append(
                format_html(
                    '<rect x="{}" y="{}" width="{}" height="{}" fill="url(#{})"/>',
                    _round(_LEFT + index * width + _GAP / 2),
                    _round(base),
                    _round(width - _GAP),
                    _round(height),
                    f"{key}-{one.look}",
                )
            )
        if shapes:
            told = ", ".join(f"{in_digits(one.values[index])} {one.name}" for one in series)
            bars.append(format_html("<g><title>{}: {}</title>{}</g>", label, told, _joined(shapes)))
    return _chart(
        key=key,
        title=title,
        sentence=sentence,
        labels=labels,
        labels_are=labels_are,
        series=series,
        top=top,
        unit="",
        shapes=_joined(bars),
        swatch='<rect x="1" y="1" width="14" height="14" fill="url(#{})"/>',
    )


def lines(
    *,
    key: str,
    title: str,
    sentence: str,
    labels: Sequence[str],
    labels_are: str,
    series: Sequence[Series],
    unit: str,
) -> Chart:
    """A line for each series, broken where nothing is known; each point has a marker."""
    known = [value for one in series for value in one.values if value is not None]
    top = top_of(max(known, default=0))
    width = (_RIGHT - _LEFT) / max(1, len(labels))
    drawn = []
    for one in series:
        points = [
            None
            if value is None
            else (_round(_LEFT + (index + 0.5) * width), _round(_BOTTOM - value / top * (_BOTTOM - _TOP)))
            for index, value in enumerate(one.values)
        ]
        drawn += [
            format_html(
                '<polyline class="line line-{}" points="{}"/>',
                one.look.value,
                " ".join(f"{x},{y}" for x, y in stretch),
            )
            for stretch in _stretches(points)
            if len(stretch) > 1
        ]
        drawn += [
            format_html(
                '<g class="mark mark-{}"><title>{}: {} {} {}</title>{}</g>',
                one.look.value,
                label,
                in_digits(value),
                unit,
                one.name,
                _marker(one.look, *point),
            )
            for label, value, point in zip(labels, one.values, points, strict=True)
            if point is not None
        ]
    return _chart(
        key=key,
        title=title,
        sentence=sentence,
        labels=labels,
        labels_are=labels_are,
        series=series,
        top=top,
        unit=f" {unit}",
        shapes=_joined(drawn),
        swatch="",
    )


def nothing(*, key: str, title: str, sentence: str) -> Chart:
    """A chart of which there is nothing to show."""
    return Chart(key=key, title=title, sentence=sentence)


def _chart(
    *,
    key: str,
    title: str,
    sentence: str,
    labels: Sequence[str],
    labels_are: str,
    series: Sequence[Series],
    top: float,
    unit: str,
    shapes: SafeString,
    swatch: str,
) -> Chart:
    svg = format_html(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-labelledby="{}-title {}-desc">'
        '<title id="{}-title">{}</title><desc id="{}-desc">{}</desc>{}{}{}{}</svg>',
        *(WIDTH, HEIGHT, key, key, key, title, key, sentence),
        format_html("<defs>{}</defs>", _joined([_pattern(key, one.look) for one in series]))
        if swatch
        else "",
        _axis(top, unit),
        _names(labels),
        shapes,
    )
    return Chart(
        key=key,
        title=title,
        sentence=sentence,
        svg=svg,
        legend=tuple((one.name, _swatch(key, one.look, swatch)) for one in series),
        labels_are=labels_are,
        columns=tuple(f"{one.name}{f' ({unit.strip()})' if unit else ''}" for one in series),
        rows=tuple(
            (label, tuple(in_digits(one.values[index]) for one in series))
            for index, label in enumerate(labels)
        ),
    )


def _axis(top: float, unit: str) -> SafeString:
    """Lines at nothing, half and all, with the numbers right-aligned before them."""
    most = 1_000 if unit else 10_000  # a unit takes room too
    return format_html_join(
        "",
        '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/><text class="label" x="{}" y="{}" '
        'text-anchor="end">{}{}</text>',
        (
            (_LEFT, _RIGHT, y, y, _LEFT - 6, _round(y + 4), _short(value, most=most), unit)
            for value, y in ((0, _BOTTOM), (top / 2, (_TOP + _BOTTOM) / 2), (top, _TOP))
        ),
    )


def _names(labels: Sequence[str]) -> SafeString:
    """Every fourth label, counted from the last, which is always named."""
    width = (_RIGHT - _LEFT) / max(1, len(labels))
    return format_html_join(
        "",
        '<text class="label" x="{}" y="{}" text-anchor="middle">{}</text>',
        (
            (_round(_LEFT + (index + 0.5) * width), _BOTTOM + 17, label)
            for index, label in enumerate(labels)
            if (len(labels) - 1 - index) % _LABEL_EVERY == 0
        ),
    )


_PATTERNS = {
    Look.UNDONE: '<path class="on" d="M-1 7L7 -1M-1 1L1 -1M5 7L7 5"/>',
    Look.WAITING: '<circle class="dot" cx="3" cy="3" r="1.3"/>',
    Look.BAD: '<path class="on" d="M0 3H6"/>',
}
"""Stripes, dots and lines on the colour; what went well is the colour alone."""


def _pattern(key: str, look: Look) -> SafeString:
    return format_html(
        '<pattern id="{}-{}" class="of of-{}" width="6" height="6" patternUnits="userSpaceOnUse">'
        '<rect class="under" width="6" height="6"/>{}</pattern>',
        key,
        look.value,
        look.value,
        SafeString(_PATTERNS.get(look, "")),
    )


def _swatch(key: str, look: Look, swatch: str) -> SafeString:
    """What the legend shows before the name."""
    inside = (
        format_html(swatch, f"{key}-{look}")
        if swatch
        else format_html(
            '<polyline class="line line-{}" points="0,8 16,8"/><g class="mark mark-{}">{}</g>',
            look.value,
            look.value,
            _marker(look, 8, 8),
        )
    )
    return format_html('<svg class="swatch" viewBox="0 0 16 16" aria-hidden="true">{}</svg>', inside)


def _marker(look: Look, x: float, y: float) -> SafeString:
    if look is Look.SLOWEST:
        return format_html('<rect x="{}" y="{}" width="6" height="6"/>', _round(x - 3), _round(y - 3))
    return format_html('<circle cx="{}" cy="{}" r="3"/>', x, y)


def _stretches(points: Sequence[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    found: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point is not None:
            found[-1].append(point)
        elif found[-1]:
            found.append([])
    return found


def in_digits(value: float | None) -> str:
    """Whole numbers with thousands parted, small ones to three digits; a dash for nothing known."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:.3g}"


def _short(value: float, *, most: int) -> str:
    """What has room beside the axis: `25k` for 25,000, from `most` on."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if value >= most and value >= size:
            return f"{value / size:g}{letter}"
    return in_digits(value)


def _round(value: float) -> float:
    return round(value, 2)


def _joined(shapes: Sequence[SafeString]) -> SafeString:
    return format_html_join("", "{}", ((shape,) for shape in shapes))
