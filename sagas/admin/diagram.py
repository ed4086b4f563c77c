"""A saga as a drawing: its steps in the order in which they run, those beside each other beside each other.

Carries neither style nor script, so that a strict policy lets it pass; its colours are classes. There are two of them,
one from left to right and one, for narrow screens, from top to bottom; a table on the same page says it in words.
"""

from collections.abc import Mapping, Sequence

import msgspec
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sagas.admin.looks import STEP_TONES
from sagas.definition import Pivot, Saga, Wait
from sagas.standing import STEP_WORDS, in_words, kind_of
from sagas.state import StepState

WIDTH, HEIGHT, GAP, LANE = 148, 74, 30, 18
_LETTERS = 22
"""So many letters fit into a box."""


class Place(msgspec.Struct, frozen=True):
    """Where a step is drawn: how many come before it, and beside how many it is."""

    layer: int
    lane: int


def layout(definition: Saga) -> tuple[Place, ...]:
    """A place for each step. Each step is a layer beyond all that it comes after."""
    layers: list[int] = []
    lanes: dict[int, int] = {}
    places = []
    for before in definition.predecessors:
        layer = max((layers[position] + 1 for position in before), default=0)
        layers.append(layer)
        places.append(Place(layer, lanes.setdefault(layer, 0)))
        lanes[layer] += 1
    return tuple(places)


def drawing(definition: Saga, steps: Sequence[StepState], *, is_upright: bool = False) -> SafeString:
    """The steps with their states."""
    places = layout(definition)
    points = [_point(place, is_upright=is_upright) for place in places]
    width = max(x for x, _ in points) + WIDTH + 2
    height = max(y for _, y in points) + HEIGHT + 2
    states = {state.name: state for state in steps}
    arrows = format_html_join(
        "",
        '<path class="arrow" d="{}"/>',
        (
            (_arrow(points[before], points[position], is_upright=is_upright),)
            for position, all_before in enumerate(definition.predecessors)
            for before in all_before
        ),
    )
    boxes = format_html_join(
        "",
        "{}",
        (
            (_box(definition, position, points[position], states),)
            for position in range(len(definition.steps))
        ),
    )
    return format_html(
        '<svg class="saga-diagram {kind}" role="img" width="{width}" height="{height}" '
        'viewBox="0 0 {width} {height}" focusable="false"><title>The steps of {name}</title><desc>{told}</desc>'
        "{arrows}{boxes}</svg>",
        kind="upright" if is_upright else "lying",
        width=width,
        height=height,
        name=definition.name,
        told="; ".join(f"{state.name}: {STEP_WORDS[state.status]}" for state in steps),
        arrows=arrows,
        boxes=boxes,
    )


def _point(place: Place, *, is_upright: bool) -> tuple[int, int]:
    if is_upright:
        return 1 + place.lane * (WIDTH + LANE), 1 + place.layer * (HEIGHT + GAP)
    return 1 + place.layer * (WIDTH + GAP), 1 + place.lane * (HEIGHT + LANE)


def _arrow(begin: tuple[int, int], end: tuple[int, int], *, is_upright: bool) -> str:
    if is_upright:
        x, y, to_x, to_y = begin[0] + WIDTH // 2, begin[1] + HEIGHT, end[0] + WIDTH // 2, end[1] - 2
        middle = (y + to_y) // 2
        head = f"M{to_x - 4} {to_y - 6}L{to_x} {to_y}L{to_x + 4} {to_y - 6}"
        return f"M{x} {y}C{x} {middle} {to_x} {middle} {to_x} {to_y}{head}"
    x, y, to_x, to_y = begin[0] + WIDTH, begin[1] + HEIGHT // 2, end[0] - 2, end[1] + HEIGHT // 2
    middle = (x + to_x) // 2
    head = f"M{to_x - 6} {to_y - 4}L{to_x} {to_y}L{to_x - 6} {to_y + 4}"
    return f"M{x} {y}C{middle} {y} {middle} {to_y} {to_x} {to_y}{head}"


def _box(
    definition: Saga, position: int, point: tuple[int, int], states: Mapping[str, StepState]
) -> SafeString:
    step = definition.steps[position]
    state = states.get(step.name) or StepState(name=step.name)
    x, y = point
    if isinstance(step, Pivot):
        back = "no way back from here"
    elif position > definition.pivot_position:
        back = "cannot be undone"
    else:
        back = f"↩ {in_words(step.undo)}" if step.undo else "nothing to undo"
    lines = (
        ("name", 20, step.name),
        ("what", 35, kind_of(step)),
        ("state", 51, STEP_WORDS[state.status]),
        ("back", 66, back),
    )
    kind = "pivot" if isinstance(step, Pivot) else "wait" if isinstance(step, Wait) else "plain"
    return format_html(
        '<g class="step {kind} tone-{tone}"><rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>'
        "{lines}</g>",
        kind=kind,
        tone=STEP_TONES[state.status].value,
        x=x,
        y=y,
        width=WIDTH,
        height=HEIGHT,
        lines=format_html_join(
            "",
            '<text class="{}" x="{}" y="{}">{}</text>',
            ((name, x + 10, y + down, _cut(text)) for name, down, text in lines),
        ),
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"
