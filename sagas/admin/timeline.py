"""How long each step took, as bars beside each other. Pure."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sagas.definition import Saga

_ROW, _BAR, _LABEL, _WIDTH = 22, 12, 110, 760


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """From the first sending of a step's command, or of its compensation's, to its answer; open without one."""

    step: str
    is_compensation: bool
    begin: datetime
    end: datetime | None


class Noted(msgspec.Struct, frozen=True):
    """A message as the saga has recorded it."""

    direction: str
    type: str
    step: str
    at: datetime


def spans(definition: Saga, notes: Sequence[Noted]) -> list[Span]:
    """What the messages tell, in the order in which it began."""
    begun: dict[tuple[str, bool], datetime] = {}
    ended: dict[tuple[str, bool], datetime] = {}
    for note in notes:
        if note.step not in definition.positions:
            continue
        step = definition.step(note.step)
        if note.direction == "sent":
            is_compensation = step.undo is not None and note.type == step.undo.wire_type
            begun.setdefault((note.step, is_compensation), note.at)
        elif note.direction == "received":
            answers_undo = step.undone is not None and note.type == step.undone.wire_type
            if answers_undo or note.type in {event.wire_type for event in (step.done, step.refused) if event}:
                ended.setdefault((note.step, answers_undo), note.at)
    return [
        Span(step=step, is_compensation=is_compensation, begin=at, end=ended.get((step, is_compensation)))
        for (step, is_compensation), at in begun.items()
    ]


def chart(found: Sequence[Span], *, begin: datetime, end: datetime) -> SafeString:
    """A row for each span between these times; empty where there is none."""
    if not found:
        return SafeString()
    whole = max((end - begin).total_seconds(), 0.001)

    def across(at: datetime) -> int:
        return round(_LABEL + (_WIDTH - _LABEL) * max(0.0, min(1.0, (at - begin).total_seconds() / whole)))

    rows = format_html_join(
        "",
        '<g class="{}"><text class="label" x="0" y="{}">{}</text>'
        '<rect class="bar" x="{}" y="{}" width="{}" height="{}" rx="2"/></g>',
        (
            (
                _kind(span),
                row * _ROW + 15,
                f"↩ {span.step}" if span.is_compensation else span.step,
                across(span.begin),
                row * _ROW + 5,
                max(2, across(span.end or end) - across(span.begin)),
                _BAR,
            )
            for row, span in enumerate(found)
        ),
    )
    height = len(found) * _ROW + 4
    return format_html(
        '<svg class="saga-timeline" role="img" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'focusable="false"><title>How long each step took</title><desc>{told}</desc>{rows}</svg>',
        width=_WIDTH,
        height=height,
        told="; ".join(f"{span.step}: {seconds(span, end)}" for span in found),
        rows=rows,
    )


def seconds(span: Span, now: datetime) -> str:
    """`0.12 s`, or `12 s so far`."""
    took = ((span.end or now) - span.begin).total_seconds()
    shown = f"{took:.2f} s" if took < 10 else f"{took:,.0f} s"
    return shown if span.end else f"{shown} so far"


def _kind(span: Span) -> str:
    if span.end is None:
        return "tone-waiting"
    return "tone-undone" if span.is_compensation else "tone-good"
