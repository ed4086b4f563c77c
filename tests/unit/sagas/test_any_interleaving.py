"""A saga keeps its promises whatever comes in whatever order; hypothesis looks for the order in which it would not."""

import subprocess
import sys
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from sagas.incoming import CancelSaga, MarkUndone, PauseSaga, ResumeSaga, RetryStep, SkipStep
from tests.databases import ROOT
from tests.simulation.histories import come_to_rest, run_many
from tests.simulation.toys import TOYS
from tests.simulation.world import World

places = st.integers(min_value=0, max_value=1_000_000)


class AnyInterleaving(RuleBasedStateMachine):
    """`World` checks after every decision what must hold then; in the end all comes to rest as promised."""

    world: World

    @initialize(definition=st.sampled_from(TOYS), seed=places)
    def begin(self, definition, seed):
        self.world = World(definition, Random(seed))
        self.world.start()

    @precondition(lambda self: self.world.commands)
    @rule(place=places, twice=st.booleans(), dies=st.booleans())
    def a_command_arrives(self, place, twice, dies):
        self.world.deliver_command(place % len(self.world.commands), twice=twice, dies=dies)

    @precondition(lambda self: self.world.replies)
    @rule(place=places, twice=st.booleans())
    def a_reply_arrives(self, place, twice):
        self.world.deliver_reply(place % len(self.world.replies), twice=twice)

    @precondition(lambda self: self.world.letters)
    @rule(place=places, is_replayed=st.booleans())
    def a_letter_is_dealt_with(self, place, is_replayed):
        deal = self.world.replay if is_replayed else self.world.discard
        deal(place % len(self.world.letters))

    @rule(seconds=st.sampled_from((0.001, 10.0, 60.0, 61.0, 301.0)))
    def time_passes(self, seconds):
        self.world.let_time_pass(seconds)
        self.world.look_at_the_clock()

    @rule(kind=st.sampled_from((RetryStep, SkipStep, MarkUndone)), place=places)
    def a_person_acts_on_a_step(self, kind, place):
        steps = self.world.saga.steps
        self.world.act(kind(steps[place % len(steps)].name))

    @rule(action=st.sampled_from((PauseSaga(), ResumeSaga(), CancelSaga())))
    def a_person_acts(self, action):
        self.world.act(action)

    @rule(place=places)
    def a_switch_is_set_or_lifted(self, place):
        if any(switch.lifted_at is None for switch in self.world.switches):
            self.world.lift_switches()
        else:
            steps = self.world.saga.steps
            self.world.set_switch(steps[place % len(steps)].name)

    @precondition(lambda self: list(self.world.definition.waits()))
    @rule(place=places, is_refused=st.booleans())
    def something_happens_outside(self, place, is_refused):
        waits = list(self.world.definition.waits())
        self.world.say(waits[place % len(waits)].name, is_refused=is_refused)

    def teardown(self):
        if hasattr(self, "world"):
            come_to_rest(self.world, self.world.random)
            self.world.check_the_end()


AnyInterleaving.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_any_interleaving = AnyInterleaving.TestCase


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

    assert told.startswith("history 7 of waiting:")
    assert "Started" in told
