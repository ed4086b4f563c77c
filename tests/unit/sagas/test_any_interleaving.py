"""A saga keeps its promises whatever comes in whatever order; hypothesis looks for the order in which it would not."""

import subprocess
import sys
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from sagas.incoming import CancelSaga, MarkUndone, PauseSaga, ResumeSaga, RetryStep, SkipStep
from sagas.switches import SwitchKind
from tests.databases import ROOT
from tests.simulation.histories import ABOUT, come_to_rest, mend, run_many
from tests.simulation.tables import TABLES
from tests.simulation.world import Clock, World

places = st.integers(min_value=0, max_value=1_000_000)


class AnyInterleaving(RuleBasedStateMachine):
    """Two sagas of one order. What must hold is checked at every turn; in the end all comes to rest as promised."""

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.worlds = []

    @initialize(definitions=st.lists(st.sampled_from(TABLES), min_size=1, max_size=2), seed=places)
    def begin(self, definitions, seed):
        self.random = Random(seed)
        self.worlds = [World(definition, self.random, self.clock) for definition in definitions]
        for world in self.worlds:
            world.start()

    def world(self, which):
        return self.worlds[which % len(self.worlds)]

    @rule(
        which=places, place=places, end=st.sampled_from(("is handled", "comes twice", "crash", "dead letter"))
    )
    def a_command_arrives(self, which, place, end):
        world = self.world(which)
        if not world.commands:
            return
        place %= len(world.commands)
        if end == "dead letter":
            world.bury(place)
        else:
            world.deliver_command(place, twice=end == "comes twice", dies=end == "crash")

    @rule(which=places, place=places, end=st.sampled_from(("is heard", "comes twice", "crash")))
    def the_saga_hears_something(self, which, place, end):
        world = self.world(which)
        if world.mail:
            world.deliver_mail(place % len(world.mail), twice=end == "comes twice", dies=end == "crash")

    @precondition(lambda self: any(world.letters for world in self.worlds))
    @rule(which=places, place=places, is_replayed=st.booleans())
    def a_letter_is_dealt_with(self, which, place, is_replayed):
        world = self.world(which)
        if world.letters:
            (world.replay if is_replayed else world.discard)(place % len(world.letters))

    @rule(seconds=st.sampled_from((0.001, 10.0, 60.0, 61.0, 301.0)))
    def time_passes(self, seconds):
        self.worlds[0].let_time_pass(seconds)

    @rule(which=places, is_late=st.booleans())
    def the_clock_is_looked_at(self, which, is_late):
        world = self.world(which)
        if not (is_late and world.wait_for_the_deadline()):
            world.look_at_the_clock()

    @rule(which=places, kind=st.sampled_from((RetryStep, SkipStep, MarkUndone)), place=places)
    def a_person_acts_on_a_step(self, which, kind, place):
        world = self.world(which)
        steps = world.saga.under_way() or world.saga.steps
        world.act(kind(steps[place % len(steps)].name))

    @rule(which=places, action=st.sampled_from((PauseSaga(), ResumeSaga(), CancelSaga())))
    def a_person_acts(self, which, action):
        self.world(which).act(action)

    @rule(
        which=places,
        place=places,
        kind=st.sampled_from(SwitchKind),
        about=st.sampled_from(ABOUT),
    )
    def a_switch_is_set(self, which, place, kind, about):
        world = self.world(which)
        name = world.definition.steps[place % len(world.definition.steps)].name
        world.set_switch(name, kind, about=about)

    @precondition(lambda self: self.clock.is_anything_held)
    @rule(place=places)
    def a_switch_is_lifted(self, place):
        held = [switch for switch in self.clock.switches if switch.lifted_at is None]
        self.worlds[0].lift_switches([held[place % len(held)]])
        for world in self.worlds:
            world.note_lifting()

    @rule(which=places, place=places, is_refused=st.booleans())
    def something_happens_outside(self, which, place, is_refused):
        world = self.world(which)
        waits = list(world.definition.waits())
        if waits:
            world.say(waits[place % len(waits)].name, is_refused=is_refused)

    def teardown(self):
        if not self.worlds:
            return
        come_to_rest(self.worlds, self.random)
        for world in self.worlds:
            world.check_the_end()
            if world.waiting_for_a_person():
                mend(world, self.random)
                world.check_the_end()


AnyInterleaving.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_any_interleaving = AnyInterleaving.TestCase


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_where_nobody_refuses_and_nothing_is_late_everything_is_done_and_nothing_sent_twice(table):
    world = World(table, Random(0))
    world.random.random = lambda: 0.99  # the last of what is under way comes first, and nobody refuses
    world.start()
    for step in table.waits():
        world.say(step.name)
        world.deliver_mail(0)

    come_to_rest([world], world.random)

    assert world.saga.status == "completed"
    effective = {step.name for step in table.steps if step.command or step.undo}
    assert world.services.effects == dict.fromkeys(effective, "kept")
    assert world.seen["repeated"] == 0


def test_two_thousand_seeded_histories_keep_every_promise():
    """A hundred thousand are lived through by `.ci/run`."""
    seen = run_many(1_000_000, 2_000)

    assert seen["completed"] and seen["cancelled"] and seen["waits for a person"]


def test_a_history_can_be_looked_at_again():
    told = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seed", "7", "--histories", "1", "--trace"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert told.startswith("history 7 of plain:")
    assert "Started" in told
