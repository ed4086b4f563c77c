"""Where a saga stands, in sentences: what they say follows is what the saga would decide."""

from datetime import timedelta

import msgspec
import pytest

from sagas.definition import Saga, Wait
from sagas.incoming import CancelSaga, PauseSaga
from sagas.standing import sentence, step_words
from sagas.state import StepStatus
from tests.simulation.tables import ASKING, BEGUN, PLAIN, TABLES, WAITING, event, pivot, step
from tests.unit.sagas.by_hand import answer, pass_deadline, refuse, say, world_of


def told(world, *, later: float = 12) -> str:
    return sentence(world.definition, world.saga, world.clock.now + timedelta(seconds=later))


def test_what_is_awaited_is_told_with_what_follows_without_an_answer():
    world = world_of(PLAIN)

    assert told(world) == (
        "Waits since 12 s for toys to do a; without an answer the saga is undone at 12:01:00 UTC."
    )


def test_what_is_to_be_repeated_is_told():
    world = world_of(Saga("s", 1, BEGUN, "order", (step("a", repeats=1), pivot("p"))))

    assert told(world).endswith("; without an answer it is asked again at 12:01:00 UTC.")
    pass_deadline(world)
    assert told(world, later=0).startswith(
        "Waits since 0 s for toys to do a, sent 2 times; without an answer the saga"
    )

    world = world_of(Saga("s", 1, BEGUN, "order", (pivot("p"),)))
    assert "it is asked again at" in told(world), "beyond the point of no return it is repeated for ever"


def test_a_question_is_announced_and_then_told():
    world = world_of(ASKING)

    assert told(world).endswith("without an answer toys is asked what happened at 12:01:00 UTC.")
    pass_deadline(world)

    assert told(world).startswith("Nobody knows whether step a had its effect: toys was asked 12 s ago;")


def test_a_wait_says_who_decides_if_nothing_comes():
    world = world_of(
        Saga("s", 1, BEGUN, "order", (step("a"), Wait("w", done=event("WordGiven"), deadline=200)))
    )
    answer(world, "DoA")

    assert told(world) == (
        "Waits since 12 s for word from outside (step w); without an answer a person has to decide at 12:03:20 UTC."
    )
    pass_deadline(world)
    assert told(world) == "Step w has waited for word in vain: a person has to decide."


def test_a_pause_says_until_when_it_lasts_with_the_date_where_that_is_another_day():
    world = world_of(WAITING)
    say(world, "word")
    answer(world, "DoA")

    assert told(world).startswith("Lets time pass (step rest) until 12:00:30 UTC.")
    assert "until 2026-06-01 12:00 UTC." in told(world, later=86_400)


def test_the_way_back_is_told_with_its_reason():
    world = world_of(PLAIN)
    answer(world, "DoA")
    refuse(world, "b")

    assert told(world) == (
        "It is being undone, because of “toys.brefused.v1”. Waits since 12 s for toys to undo a; without an "
        "answer it is asked again at 12:01:00 UTC."
    )
    assert {state.name: step_words(world.saga, state) for state in world.saga.steps}["p"] == "never begun"


def test_what_a_person_did_is_told():
    paused = world_of(PLAIN)
    paused.act(PauseSaga())
    assert told(paused).startswith("A person has paused it")

    cancelled = world_of(PLAIN)
    cancelled.act(CancelSaga())
    assert "without an answer the step is undone too at" in told(cancelled)


def test_a_deadline_that_is_over_announces_nothing():
    assert told(world_of(PLAIN), later=61).endswith("; the time for that is over.")


@pytest.mark.parametrize("definition", TABLES, ids=lambda saga: saga.name)
@pytest.mark.parametrize("status", StepStatus)
def test_every_state_of_every_step_has_words_and_a_sentence_that_ends(definition, status):
    world = world_of(definition)
    for position, state in enumerate(world.saga.steps):
        steps = list(world.saga.steps)
        steps[position] = changed = msgspec.structs.replace(
            state, status=status, sendings=1, sent_at=world.clock.now
        )
        saga = msgspec.structs.replace(world.saga, steps=tuple(steps))

        assert step_words(saga, changed)
        assert sentence(definition, saga, world.clock.now).endswith(".")
