"""Each thing that a step may be, by itself: beside others, waiting, pausing, asking, skipped, held back."""

from sagas.actions import refusal_of
from sagas.definition import Exhausted, Saga, Wait
from sagas.incoming import CancelSaga, MarkUndone, PauseSaga, ResumeSaga, RetryStep, SkipStep
from tests.simulation.tables import ASKING, BEGUN, PLAIN, WAITING, WIDE, event, step
from tests.unit.sagas.by_hand import answer, out, pass_deadline, refuse, say, status, world_of


def test_steps_after_the_same_one_run_beside_each_other():
    world = world_of(WIDE)

    assert out(world) == ["DoA", "DoB"]
    answer(world, "DoB")
    assert out(world) == ["DoA"]
    answer(world, "DoA")
    assert out(world) == ["DoC"]
    answer(world, "DoC")
    assert out(world) == ["DoD"]


def test_a_refusal_waits_for_the_branch_that_is_out_and_undoes_both_beside_each_other():
    world = world_of(WIDE)
    answer(world, "DoA")
    refuse(world, "c")

    assert (world.saga.status, out(world)) == ("compensating", ["DoB", "UndoA"])
    answer(world, "DoB")
    assert out(world) == ["UndoA", "UndoB"]
    answer(world, "UndoB")
    assert out(world) == ["UndoA"]
    answer(world, "UndoA")
    assert out(world) == ["UndoStart"]


def test_a_wait_is_ended_by_its_event_also_before_its_turn():
    world = world_of(WAITING)
    say(world, "sign")
    assert status(world, "sign") == "done"
    answer(world, "DoA")
    assert status(world, "word") == "waiting"

    say(world, "word")

    assert (status(world, "word"), status(world, "rest"), out(world)) == ("done", "pausing", [])
    pass_deadline(world)
    assert out(world) == ["DoB"]
    answer(world, "DoB")
    assert out(world) == ["DoC"]


def test_a_wait_that_is_over_is_held_or_turns_the_saga_round_as_it_says():
    holding = world_of(
        Saga("s", 1, BEGUN, "order", (step("a"), Wait("w", done=event("WordGiven"), deadline=200)))
    )
    answer(holding, "DoA")
    pass_deadline(holding)
    assert (status(holding, "w"), holding.saga.needs_a_person) == ("held", True)
    say(holding, "w")
    assert holding.saga.status == "completed"

    giving_up = Wait("w", done=event("WordGiven"), deadline=200, exhausted=Exhausted.COMPENSATE)
    turning = world_of(Saga("s", 1, BEGUN, "order", (step("a"), giving_up)))
    answer(turning, "DoA")
    pass_deadline(turning)
    assert (turning.saga.reason, out(turning)) == ("step_overdue", ["UndoA"])


def test_no_for_an_answer_from_outside_turns_the_saga_round():
    world = world_of(WAITING)
    answer(world, "DoA")

    say(world, "word", is_refused=True)

    assert (world.saga.status, status(world, "word"), out(world)) == ("compensating", "refused", ["UndoA"])


def test_a_step_with_repeats_is_sent_again_before_it_is_given_up():
    world = world_of(Saga("s", 1, BEGUN, "order", (step("a", repeats=2),)))

    pass_deadline(world)
    pass_deadline(world)
    assert out(world) == ["DoA", "DoA", "DoA"]
    pass_deadline(world)

    assert (status(world, "a"), out(world)[-1]) == ("undoing", "UndoA")


def test_an_unknown_outcome_is_asked_about_and_sent_again_only_when_nothing_happened():
    happened = world_of(ASKING)
    happened.deliver_command(0)
    happened.mail.clear()
    pass_deadline(happened)
    assert (status(happened, "a"), out(happened)) == ("asking", ["FindA"])
    answer(happened, "FindA")
    assert (status(happened, "a"), out(happened)) == ("done", ["DoB"])

    lost = world_of(ASKING)
    lost.commands.clear()
    pass_deadline(lost)
    answer(lost, "FindA")
    assert (status(lost, "a"), out(lost)) == ("sent", ["DoA"])


def test_questions_that_nobody_answers_end_before_the_pivot():
    world = world_of(ASKING)
    for _ in range(4):
        pass_deadline(world)

    assert out(world) == ["DoA", "FindA", "FindA", "FindA", "UndoA"]


def test_a_saga_that_takes_too_long_is_undone_but_not_after_its_pivot_was_sent():
    slow = world_of(ASKING)
    answer(slow, "DoA")
    slow.act(PauseSaga())
    slow.let_time_pass(1000)
    slow.act(ResumeSaga())
    assert slow.saga.status == "running", "its deadline has stood still"
    slow.let_time_pass(500)
    slow.look_at_the_clock()
    assert slow.saga.reason == "saga_overdue"

    beyond = world_of(ASKING)
    answer(beyond, "DoA", "DoB")
    assert beyond.saga.deadline_at is None
    beyond.let_time_pass(1000)
    beyond.look_at_the_clock()
    assert beyond.saga.status == "running"


def test_a_skipped_step_counts_as_done_and_its_late_success_is_undone_with_the_rest():
    world = world_of(PLAIN)
    assert world.act(SkipStep("a"))
    assert out(world) == ["DoA", "DoB"]
    answer(world, "DoA")
    assert status(world, "a") == "done"

    refuse(world, "b")

    assert out(world) == ["UndoA"]


def test_what_a_later_command_needs_cannot_be_skipped(story):
    story.start()

    refusal = refusal_of(story.definition, story.saga, SkipStep("reserve"))
    assert refusal is None, "everything that the others need is in the start message"
    needing = Saga("s", 1, BEGUN, "order", (step("a", build=None), step("b", build=lambda said: said)))
    world = world_of(needing)
    assert "Its reply is needed by b" in (refusal_of(needing, world.saga, SkipStep("a")) or "")


def test_a_saga_is_cancelled_until_its_pivot_was_sent():
    world = world_of(PLAIN)
    answer(world, "DoA")
    assert refusal_of(PLAIN, world.saga, CancelSaga()) is None
    answer(world, "DoB")

    assert "there is no way back" in (refusal_of(PLAIN, world.saga, CancelSaga()) or "")


def test_a_stuck_compensation_is_retried_or_marked_by_hand():
    world = world_of(PLAIN)
    refuse(world, "a")
    world.bury(0)
    world.deliver_mail(0)
    assert status(world, "start") == "stuck"

    assert world.act(RetryStep("start"))
    assert status(world, "start") == "undoing"
    assert world.act(MarkUndone("start"))
    assert (status(world, "start"), world.saga.status) == ("mended", "cancelled")
