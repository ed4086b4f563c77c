"""What the time of a saga went into, as its records tell."""

from datetime import datetime, timedelta
from uuid import uuid4

import msgspec
import pytest

from sagas.admin.bars import chart
from sagas.admin.timeline import Kind, Noted, Row, rows, span, words
from sagas.definition import Saga
from sagas.state import SagaState, SagaStatus, StepState, StepStatus
from sagas.switches import Switch, SwitchKind
from tests.simulation.tables import ASKING, PLAIN, WAITING
from tests.simulation.world import NOON


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def saga_of(definition: Saga, *, finished_at: datetime | None = None, **steps: StepState) -> SagaState:
    return SagaState(
        id=uuid4(),
        status=SagaStatus.RUNNING,
        reason="",
        data={},
        steps=tuple(
            msgspec.structs.replace(steps.get(step.name, StepState(name=step.name)), name=step.name)
            for step in definition.steps
        ),
        finished_at=finished_at,
    )


def sent(definition: Saga, step: str, seconds: float, *, field: str = "command") -> Noted:
    message = getattr(definition.step(step), field)
    return Noted(direction="sent", type=message.wire_type, step=step, at=at(seconds))


def received(definition: Saga, step: str, field: str, seconds: float) -> Noted:
    return Noted(
        direction="received", type=getattr(definition.step(step), field).wire_type, step=step, at=at(seconds)
    )


def told(definition: Saga, *notes: Noted, now: float, switches: tuple[Switch, ...] = (), **steps: StepState):
    return rows(definition, saga_of(definition, **steps), notes, switches, now=at(now))


def test_a_step_lasts_from_its_first_sending_to_its_answer():
    (row,) = told(PLAIN, sent(PLAIN, "a", 0), received(PLAIN, "a", "done", 2), now=9)

    assert (row.name, row.kind, row.begin, row.end) == ("a", Kind.STEP, at(0), at(2))
    assert words(row, now=at(9)) == "2.0 s"


def test_a_step_without_an_answer_goes_on_and_says_what_was_tried():
    (row,) = told(
        PLAIN,
        sent(PLAIN, "a", 0),
        Noted(direction="time", type="sagas.check_deadlines.v1", at=at(60), steps=("a",)),
        sent(PLAIN, "a", 60),
        now=90,
    )

    assert (row.end, row.sent, row.missed) == (None, (at(0), at(60)), (at(60),))
    assert words(row, now=at(90)) == "1 min 30 s so far, sent twice, no answer in time once"


def test_a_question_is_told_of_and_is_no_sending():
    (row,) = told(ASKING, sent(ASKING, "a", 0), sent(ASKING, "a", 60, field="ask"), now=70)

    assert words(row, now=at(70)) == "1 min 10 s so far, asked what happened once"


def test_a_refusal_and_the_way_back_are_rows_of_their_own():
    found = told(
        PLAIN,
        sent(PLAIN, "a", 0),
        received(PLAIN, "a", "done", 1),
        sent(PLAIN, "b", 1),
        received(PLAIN, "b", "refused", 3),
        sent(PLAIN, "a", 3, field="undo"),
        now=5,
    )

    assert [(row.name, row.kind, row.is_refused) for row in found] == [
        ("a", Kind.STEP, False),
        ("b", Kind.STEP, True),
        ("a", Kind.UNDO, False),
    ]
    assert [words(row, now=at(5)) for row in found] == ["1.0 s", "2.0 s, refused", "2.0 s so far"]


def test_what_was_given_up_ends_where_it_was_begun_to_be_undone():
    step, undo = told(PLAIN, sent(PLAIN, "a", 0), sent(PLAIN, "a", 60, field="undo"), now=99)

    assert (step.end, undo.begin, undo.end) == (at(60), at(60), None)
    assert words(step, now=at(99)) == "1 min 0 s, without an answer"


def test_what_waits_and_what_lets_time_pass_has_a_row():
    done = StepState(name="", status=StepStatus.DONE, sent_at=at(5), finished_at=at(9))
    found = told(
        WAITING,
        now=20,
        word=done,
        rest=StepState(name="", status=StepStatus.PAUSING, sent_at=at(9), deadline_at=at(39)),
    )

    assert [(row.name, row.begin, row.end) for row in found] == [
        ("word", at(5), at(9)),
        ("rest", at(9), None),
    ]


def test_a_persons_pauses_have_rows_the_last_of_which_may_last_still():
    acts = [
        Noted(direction="person", type=name, at=at(seconds))
        for name, seconds in (("pause", 1), ("resume", 4), ("pause", 6))
    ]

    found = told(PLAIN, *acts, now=8)

    assert [(row.kind, row.begin, row.end) for row in found] == [
        (Kind.PAUSED, at(1), at(4)),
        (Kind.PAUSED, at(6), None),
    ]


def test_a_switch_holds_back_what_has_not_begun_and_lets_stand_still_what_has():
    switch = Switch(kind=SwitchKind.STEP, name="plain.b", set_at=at(1), lifted_at=at(11))
    done = StepState(name="", status=StepStatus.DONE, finished_at=at(4))
    again = Switch(kind=SwitchKind.STEP, name="plain.b", set_at=at(20))

    held, step = told(PLAIN, sent(PLAIN, "b", 11), now=50, switches=(switch, again), start=done, a=done)

    assert (held.kind, held.begin, held.end) == (Kind.HELD_BACK, at(4), at(11))
    assert words(step, now=at(50)) == "39.0 s so far, its deadline stood still for 30.0 s"


def test_a_step_that_is_held_back_now_waits_without_an_end():
    switch = Switch(kind=SwitchKind.STEP, name="plain.a", set_at=at(1))

    (held,) = told(
        PLAIN, now=50, switches=(switch,), start=StepState(name="", status=StepStatus.DONE, finished_at=at(2))
    )

    assert (held.begin, held.end) == (at(2), None)


def test_what_was_held_back_until_it_was_undone_is_told_after_the_end_too():
    switch = Switch(kind=SwitchKind.STEP, name="plain.b", set_at=at(0))
    undone = StepState(name="", status=StepStatus.UNDONE, finished_at=at(42))
    notes = (
        sent(PLAIN, "a", 0),
        received(PLAIN, "a", "done", 1),
        sent(PLAIN, "a", 40, field="undo"),
        received(PLAIN, "a", "undone", 42),
    )
    over = msgspec.structs.replace(saga_of(PLAIN, finished_at=at(50), a=undone), status=SagaStatus.CANCELLED)

    found = rows(PLAIN, over, notes, (switch,), now=at(900))

    assert [(row.name, row.kind, row.begin, row.end) for row in found] == [
        ("a", Kind.STEP, at(0), at(1)),
        ("b", Kind.HELD_BACK, at(1), at(40)),
        ("a", Kind.UNDO, at(40), at(42)),
    ]


def test_nothing_of_another_saga_is_taken_for_its_own():
    switch = Switch(kind=SwitchKind.STEP, name="wide.a", set_at=at(0))

    assert told(PLAIN, now=50, switches=(switch,), start=StepState(name="", status=StepStatus.DONE)) == []


def test_bars_stay_within_the_drawing_even_where_clocks_disagree():
    found = [
        Row(name="a", kind=Kind.STEP, begin=at(-5), end=at(-4)),
        Row(name="b", kind=Kind.UNDO, begin=at(10), sent=(at(10), at(99))),
    ]

    drawn = chart(found, begin=at(0), now=at(10), end=None)

    assert (drawn.whole, [bar.title for bar in drawn.bars]) == ("15.0 s", ["a", "↩ b"])
    assert 'x="0" y="1" width="67"' in drawn.bars[0].drawing
    assert 'x="988" y="1" width="12"' in drawn.bars[1].drawing
    assert "style" not in "".join(bar.drawing for bar in drawn.bars)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0184, "18 ms"),
        (0.9999, "1.0 s"),
        (59.96, "1 min 0 s"),
        (3599.9, "1 h 0 min"),
        (7500, "2 h 5 min"),
        (273_600, "3 d 4 h"),
        (-3, "0 ms"),
    ],
)
def test_a_span_is_told_in_the_units_that_fit(seconds, said):
    assert span(timedelta(seconds=seconds)) == said
