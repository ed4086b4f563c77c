"""A table of steps that could not be carried out is refused when it is made, with a sentence that says why."""

from typing import Any

import msgspec
import pytest

from contracts.message import Command, Event
from sagas.checkout import CHECKOUT
from sagas.definition import Exhausted, Pause, Pivot, Saga, Step, Wait
from sagas.errors import InvalidDefinition
from tests.simulation.tables import BEGUN, START, WHOLE, command, event, last, pivot, step

WORD = Wait("w", done=event("WordGiven"), refused=event("WordDenied"), deadline=200)


def made_of(*steps: Step, **more: Any) -> Saga:
    return Saga("s", **({"version": 1, "starts": BEGUN, "unique_by": "order", "steps": steps} | more))


def but(changed: Step, **fields: Any) -> Step:
    return msgspec.structs.replace(changed, **fields)


class Shapeless(Event, frozen=True, kw_only=True):
    """An event that bears no order."""

    amount: str


class Demanding(Command, frozen=True, kw_only=True):
    """A command that nobody could fill in."""

    amount: int


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ((), "it has no steps"),
        ((step("a"), step("a")), "two steps have the same name"),
        ((but(step("a"), name="a step"),), "a step cannot be called 'a step'"),
        ((but(step("a"), name=""),), "a step cannot be called ''"),
        ((step("a", after=("b",)), step("b")), "to come after 'b', which is no step above it"),
        ((step("a", after=("a",)),), "to come after 'a', which is no step above it"),
        ((pivot("p"), but(pivot("q"), refused=None)), "more than one pivot"),
        ((step("a"), step("b", after=()), pivot("p", after=("a",))), "'b' runs beside the pivot 'p'"),
        ((Pivot("p"),), "the pivot 'p' has no command"),
        ((but(pivot("p"), undo=command("UndoA"), undone=event("AUndone")),), "the pivot 'p' has an `undo`"),
        ((pivot("p"), step("z")), "step 'z' comes after the pivot, where nothing is refused or undone"),
        ((pivot("p"), last("z", exhausted=Exhausted.COMPENSATE)), "'z' is to be compensated"),
        ((pivot("p", exhausted=Exhausted.COMPENSATE),), "'p' is to be compensated"),
        ((Step("b", done=event("BDone")),), "'b' needs both a command and its `done`"),
        ((but(step("a"), undone=None),), "'a' needs both `undo` and `undone`"),
        ((but(step("a"), ask=command("FindA")),), "'a' needs both `ask` and `nothing`"),
        (
            (but(START, ask=command("FindA"), nothing=event("ANotFound")),),
            "'start' has a question and no command",
        ),
        ((but(START, refused=event("ARefused")),), "'start' can be refused, and has no command"),
        ((but(step("a"), refused=event("ADone")),), "'a' has one event for two replies"),
        ((step("a", repeats=-1),), "'a' is to be repeated -1 times"),
        ((step("a", deadline=0.0),), "the deadline of step 'a' is 0.0 s"),
        ((step("a", longest_pause=-1.0),), "the longest_pause of step 'a' is -1.0 s"),
        (
            (but(WORD, deadline=None),),
            "'w' waits for an event from outside, so it needs `done` and a `deadline`",
        ),
        ((but(WORD, deadline=-5.0),), "the deadline of step 'w' is -5.0 s"),
        ((but(WORD, command=command("DoA")),), "'w' only waits"),
        ((but(WORD, done=Shapeless),), "Shapeless, for which step 'w' waits, has no field 'order'"),
        ((WORD, but(WORD, name="v", refused=None)), "steps 'w' and 'v' wait for the same WordGiven"),
        ((Pause("r"),), "'r' pauses for 0.0 s"),
        ((Pause("r", seconds=1, done=event("ADone")),), "'r' only lets time pass"),
        ((Pause("r", seconds=1, refused=event("ADone")),), "'r' only lets time pass"),
        ((step("charge"),), "nothing before step 'charge' says amount, which DoCharge needs"),
        (
            (but(step("quote"), done=Shapeless), but(step("charge"), command=Demanding)),
            "Demanding.amount of step 'charge' would be taken from Shapeless.amount, which has another type",
        ),
    ],
)
def test_a_table_that_cannot_be_carried_out_says_why(steps, problem):
    with pytest.raises(InvalidDefinition, match=problem):
        made_of(*steps)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"unique_by": "colour"}, "Begun has no field 'colour'"),
        ({"deadline": 0}, "its deadline is 0 s"),
    ],
)
def test_a_saga_as_a_whole_says_why_too(fields, problem):
    with pytest.raises(InvalidDefinition, match=problem):
        made_of(step("a"), **fields)


def test_what_comes_after_nothing_else_begins_with_the_saga():
    beside = made_of(step("a"), step("b", after=()), step("c", after=("a", "b")))

    assert beside.predecessors == ((), (), (0, 1))


def test_a_pivot_may_be_the_first_step_and_the_last():
    assert made_of(pivot("p"), last("z")).pivot_position == 0
    assert made_of(step("a"), pivot("p")).pivot_position == 1
    assert made_of(step("a")).pivot_position == 1, "without one it would be the next"


def test_fields_of_commands_are_taken_by_name_from_the_first_who_says_them():
    said = {"": {"order": "1"}, "quote": {"order": "2", "amount": 700}}

    charge = WHOLE.build(WHOLE.positions["charge"], command("DoCharge"), said)

    assert charge == command("DoCharge").from_payload({"order": "1", "amount": 700})


def test_a_command_that_is_built_reads_what_was_said_as_the_events_that_they_were():
    said = {"": {"order": "1"}, "quote": {"order": "1", "amount": 700}}
    ship = WHOLE.positions["ship"]

    assert WHOLE.build(ship, command("DoShip"), said).note == "700 cents"
    undoing = WHOLE.build(ship, command("UndoShip"), said, reason="step_overdue")
    assert (undoing.note, undoing.reason) == ("not for 700 cents", "step_overdue")


def test_what_later_steps_need_is_known_from_the_table():
    assert WHOLE.needs("quote") == ["charge", "ship"]
    assert WHOLE.needs("word") == ["ship"], "whoever builds a command may read all that was said"
    assert CHECKOUT.needs("reserve") == []
