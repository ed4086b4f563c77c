"""Pauses and pause switches: nothing is sent, deadlines stand still for exactly as long, and then it goes on."""

from datetime import timedelta

from sagas.incoming import PauseSaga, ResumeSaga, SkipStep
from tests.simulation.tables import ASKING, PLAIN, WAITING
from tests.simulation.world import NOON
from tests.unit.sagas.by_hand import answer, lift, out, pass_deadline, refuse, say, status, world_of


def test_a_deadline_stands_still_for_exactly_as_long_as_a_switch_is_set():
    world = world_of(PLAIN)
    due = world.saga.next_deadline()
    assert due == NOON + timedelta(seconds=60)
    world.let_time_pass(20)
    world.set_switch("a")
    world.let_time_pass(100)
    world.look_at_the_clock()
    assert (world.saga.next_deadline(), world.saga.is_withheld) == (None, True)
    world.let_time_pass(30)

    lift(world)

    assert world.saga.next_deadline() == due + timedelta(seconds=130)
    assert status(world, "a") == "sent"
    pass_deadline(world)
    assert status(world, "a") == "undoing"


def test_a_switch_that_came_and_went_has_stopped_the_clock_too():
    world = world_of(PLAIN)
    world.let_time_pass(5)
    world.set_switch("a")
    world.let_time_pass(50)
    lift(world)
    world.let_time_pass(5)

    world.look_at_the_clock()

    assert world.saga.next_deadline() == NOON + timedelta(seconds=110)


def test_time_that_a_pause_and_a_switch_have_in_common_counts_once():
    world = world_of(PLAIN)
    world.let_time_pass(10)
    world.act(PauseSaga())
    world.let_time_pass(5)
    world.set_switch("a")
    world.let_time_pass(10)
    lift(world)
    world.let_time_pass(5)
    world.act(ResumeSaga())

    world.look_at_the_clock()

    assert world.saga.next_deadline() == NOON + timedelta(seconds=60 + 20)


def test_a_switch_that_held_a_step_before_its_saga_was_paused_counts_once_too():
    world = world_of(PLAIN)
    world.set_switch("a")
    world.let_time_pass(60)
    world.look_at_the_clock()
    world.let_time_pass(10)
    world.act(PauseSaga())
    world.let_time_pass(10)
    world.act(ResumeSaga())
    world.let_time_pass(10)

    lift(world)

    assert world.saga.next_deadline() == NOON + timedelta(seconds=60 + 90)


def test_a_step_goes_on_though_its_switch_was_lifted_while_its_saga_was_paused():
    world = world_of(PLAIN)
    world.set_switch("a")
    world.let_time_pass(60)
    world.look_at_the_clock()
    world.act(PauseSaga())
    lift(world)

    world.act(ResumeSaga())

    assert not world.saga.is_withheld
    pass_deadline(world)
    assert status(world, "a") == "undoing"


def test_a_skipped_step_that_was_refused_after_all_keeps_nobody_waiting_though_a_switch_held_its_undoing():
    world = world_of(WAITING)
    world.act(SkipStep("a"))
    world.set_switch("a")
    say(world, "word", is_refused=True)
    assert (world.saga.is_withheld, out(world)) == (True, ["DoA"])

    refuse(world, "a")

    assert world.saga.status == "cancelled"


def test_the_time_for_the_whole_stands_still_while_something_is_withheld():
    world = world_of(ASKING)
    assert world.saga.deadline_at == NOON + timedelta(seconds=500)
    world.set_switch("b")
    answer(world, "DoA")
    assert (world.saga.is_withheld, world.saga.next_deadline()) == (True, None)
    world.let_time_pass(1000)
    world.look_at_the_clock()
    assert world.saga.status == "running"

    lift(world)

    assert (out(world), world.saga.deadline_at) == (["DoB"], NOON + timedelta(seconds=1500))


def test_the_time_for_the_whole_stands_still_once_while_it_is_withheld_and_paused():
    world = world_of(ASKING)
    world.set_switch("b")
    answer(world, "DoA")
    world.let_time_pass(10)
    world.act(PauseSaga())
    world.let_time_pass(10)
    world.act(ResumeSaga())
    world.let_time_pass(10)

    lift(world)

    assert world.saga.deadline_at == NOON + timedelta(seconds=530)


def test_a_time_for_the_whole_that_is_over_does_not_stand_still_any_more():
    world = world_of(ASKING)
    answer(world, "DoA")
    world.deliver_command(0)
    world.set_switch("p")
    world.let_time_pass(600)
    world.deliver_mail(0)

    world.look_at_the_clock()

    assert world.saga.reason == "saga_overdue"
