"""A saga as a drawing: its steps in the order in which they run, those beside each other beside each other.

Carries neither style nor script, so that a strict policy lets it pass; its colours are classes. There are two of them,
one from left to right and one, for narrow screens, from top to bottom; a table on the same page says it in words.
"""

from collections.abc import Mapping

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sagas.admin.layout import Place, layout
from sagas.admin.looks import STEP_TONES
from sagas.definition import Pivot, Saga, Wait
from sagas.standing import in_words, kind_of, step_words
from sagas.state import COMPENSATION_IS_AWAITED, SagaState, SagaStatus, StepState, StepStatus

WIDTH, HEIGHT, GAP, LANE = 148, 74, 30, 18
_LETTERS = 22
"""So many letters fit into a box."""


def drawing(definition: Saga, saga: SagaState, *, is_upright: bool = False) -> SafeString:
    """The steps with their states. Where the saga has turned round, its arrows show the way back."""
    places = layout(definition)
    points = [_point(place, is_upright=is_upright) for place in places]
    width = max(x for x, _ in points) + WIDTH + 2
    height = max(y for _, y in points) + HEIGHT + 2
    states = {state.name: state for state in saga.steps}
    arrows = format_html_join(
        "",
        '<path class="{}" d="{}"/>',
        (
            _arrow(
                points[before],
                points[position],
                is_back=_is_way_back(saga, states.get(definition.steps[before].name)),
                is_upright=is_upright,
            )
            for position, all_before in enumerate(definition.predecessors)
            for before in all_before
        ),
    )
    boxes = format_html_join(
        "",
        "{}",
        (
            (_box(definition, position, points[position], saga, states),)
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
        told="; ".join(f"{state.name}: {step_words(saga, state)}" for state in saga.steps),
        arrows=arrows,
        boxes=boxes,
    )


def _is_way_back(saga: SagaState, before: StepState | None) -> bool:
    """Whether the saga goes, or went, back over this step."""
    if before is None or saga.status not in (SagaStatus.COMPENSATING, SagaStatus.CANCELLED):
        return False
    is_next = saga.status is SagaStatus.COMPENSATING and before.is_to_be_undone
    return is_next or before.status in (*COMPENSATION_IS_AWAITED, StepStatus.UNDONE, StepStatus.MENDED)


def _point(place: Place, *, is_upright: bool) -> tuple[int, int]:
    if is_upright:
        return 1 + place.lane * (WIDTH + LANE), 1 + place.layer * (HEIGHT + GAP)
    return 1 + place.layer * (WIDTH + GAP), 1 + place.lane * (HEIGHT + LANE)


def _arrow(
    begin: tuple[int, int], end: tuple[int, int], *, is_back: bool, is_upright: bool
) -> tuple[str, str]:
    """The line's class, and the line: it keeps to the lane that it comes from until the last gap, and bends there."""
    if is_upright:
        (y, x), (to_y, to_x) = begin, end
        (along, to_along), (across, to_across) = (x + HEIGHT, to_x), (y + WIDTH // 2, to_y + WIDTH // 2)
    else:
        (x, y), (to_x, to_y) = begin, end
        (along, to_along), (across, to_across) = (x + WIDTH, to_x), (y + HEIGHT // 2, to_y + HEIGHT // 2)
    bend, middle = to_along - GAP, to_along - GAP // 2
    tip, foot = (along + 2, along + 8) if is_back else (to_along - 2, to_along - 8)
    level = across if is_back else to_across
    points = [
        [(along, across)],
        [(bend, across)],
        [(middle, across), (middle, to_across), (to_along, to_across)],
        [(foot, level - 4)],
        [(tip, level)],
        [(foot, level + 4)],
    ]
    drawn = "".join(
        letter + " ".join(f"{y} {x}" if is_upright else f"{x} {y}" for x, y in some)
        for letter, some in zip("MLCMLL", points, strict=True)
    )
    return "arrow back" if is_back else "arrow", drawn


def _box(
    definition: Saga,
    position: int,
    point: tuple[int, int],
    saga: SagaState,
    states: Mapping[str, StepState],
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
        ("state", 51, step_words(saga, state)),
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
