"""Whatever the order of deliveries, duplicates, missed deadlines and dead letters: the saga ends right, or waits for
a person.

The services are played by a model that keeps their promise: one effect for each idempotency key, the same answer
to every repetition, and no effect of an action whose compensation came first. A command that becomes a dead letter
may have had its effect all the same. Persons replay letters and discard them, and all of that is noted at any time.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.message import Event
from contracts.sagas import NoteDeadLetter, NoteDiscardedLetter
from sagas.checkout import CHECKOUT_1 as CHECKOUT
from sagas.decide import Incoming, begin, decide
from sagas.incoming import DeadlinePassed, Replied, Started
from sagas.moves import Policy, Sending
from sagas.state import FINAL, NEEDS_A_PERSON, SagaState
from tests.builders import NOON, Replies, order_placed

POLICY = Policy(deadline=60, longest_pause=300)
ORDER_ID = UUID(int=1)
SAGA_ID = UUID(int=2)
REFUSABLE = ("reserve", "authorize", "ship", "capture")


class World:
    """The saga, what is on the wire, and what the services have done."""

    def __init__(self, refused: str | None) -> None:
        replies = Replies(ORDER_ID)
        self.done = {
            "reserve": replies.reserved,
            "authorize": replies.authorized,
            "ship": replies.booked,
            "capture": replies.captured,
            "confirm": replies.confirmed,
        }
        self.refusals = dict(
            zip(
                REFUSABLE,
                (replies.unavailable, replies.declined, replies.undeliverable, replies.capture_refused),
                strict=True,
            )
        )
        self.undone = {
            "place": replies.cancelled,
            "reserve": replies.released,
            "authorize": replies.voided,
            "ship": replies.shipment_cancelled,
        }
        self.refused = refused
        self.now = NOON
        self.saga: SagaState = begin(CHECKOUT, SAGA_ID)
        self.commands: list[Sending] = []
        self.replies: list[tuple[str, Event]] = []
        self.letters: list[tuple[UUID, Sending]] = []
        self.notes: list[NoteDeadLetter | NoteDiscardedLetter] = []
        self.letters_so_far = 0
        self.discarded: set[str] = set()
        self.sent: list[Sending] = []
        self.answers: dict[tuple[str, bool], Event] = {}
        self.effects: set[str] = {"place"}
        self.decide(Started(order_placed(ORDER_ID)))

    def decide(self, incoming: Incoming) -> None:
        before = self.saga
        decision = decide(CHECKOUT, self.saga, incoming, now=self.now, policy=POLICY)
        for sending in decision.sendings:
            self.check_sending(before, sending)
        if before.status in FINAL:
            assert decision.saga == before, "final is final"
            assert decision.sendings == ()
        self.saga = decision.saga
        self.sent += decision.sendings
        self.commands += decision.sendings
        for step in self.saga.steps:
            is_awaited = step.status in ("sent", "undoing")
            assert is_awaited == (step.deadline_at is not None), "awaited, with a deadline, or neither"

    def check_sending(self, before: SagaState, sending: Sending) -> None:
        known = next(step for step in before.steps if step.name == sending.step)
        if sending.is_compensation:
            assert known.status != "refused", "what was refused has not happened"
            assert known.status != "stuck", "nothing is sent for what waits for a person"
            assert sending.step not in ("capture", "confirm"), "from the pivot on there is no way back"
            assert "capture" not in self.effects, "the money is taken: there is no way back"
        for earlier in self.sent:
            if (earlier.step, earlier.is_compensation) == (sending.step, sending.is_compensation):
                assert earlier == sending, "a repetition says the same under the same key"

    def serve(self, sending: Sending) -> None:
        """A service receives a command, perhaps not for the first time."""
        step, key = sending.step, (sending.step, sending.is_compensation)
        if key not in self.answers:
            self.answers[key] = self.carry_out(sending)
        self.replies.append((step, self.answers[key]))

    def carry_out(self, sending: Sending) -> Event:
        step = sending.step
        if sending.is_compensation:
            self.effects.discard(step)
            self.answers.setdefault((step, False), self.undone[step])  # the barrier
            return self.undone[step]
        if step == self.refused:
            return self.refusals[step]
        self.effects.add(step)
        return self.done[step]

    def die(self, sending: Sending, *, has_effect: bool) -> None:
        """A command becomes a dead letter; a gateway may have done what nobody has stored."""
        key = (sending.step, sending.is_compensation)
        if has_effect and key not in self.answers and sending.step != self.refused:
            if sending.is_compensation:
                self.effects.discard(sending.step)
                self.answers.setdefault((sending.step, False), self.undone[sending.step])
            else:
                self.effects.add(sending.step)
        self.letters_so_far += 1
        letter_id = UUID(int=1000 + self.letters_so_far)
        self.letters.append((letter_id, sending))
        self.notes.append(
            NoteDeadLetter(
                saga_id=SAGA_ID,
                step=sending.step,
                step_try=sending.step_try,
                is_compensation=sending.is_compensation,
                letter_id=letter_id,
                problem="it is not known what happened",
            )
        )

    def replay(self, letter: tuple[UUID, Sending]) -> None:
        self.commands.append(letter[1])

    def discard(self, letter: tuple[UUID, Sending]) -> None:
        letter_id, sending = letter
        self.discarded.add(sending.step)
        self.notes.append(
            NoteDiscardedLetter(
                saga_id=SAGA_ID,
                step=sending.step,
                step_try=sending.step_try,
                is_compensation=sending.is_compensation,
                letter_id=letter_id,
            )
        )

    def hear(self, step: str, event: Event) -> None:
        self.decide(Replied(step, 1, event))

    def pass_deadline(self) -> None:
        due = self.saga.next_deadline()
        if due is not None:
            self.now = max(self.now, due) + timedelta(microseconds=1)
        self.decide(DeadlinePassed())

    def deliver_everything(self) -> None:
        while self.commands or self.replies or self.notes:
            while self.notes:
                self.decide(self.notes.pop())
            while self.commands:
                self.serve(self.commands.pop())
            while self.replies:
                self.hear(*self.replies.pop())

    def move_somehow(self, data: st.DataObject, *, is_deadly: bool) -> None:
        """One thing happens, in any order: to what is on the wire, to the letters, or to the clock."""
        wires: dict[str, list[Any]] = {
            "command": self.commands,
            "reply": self.replies,
            "note": self.notes,
        } | ({"die": self.commands, "replay": self.letters, "discard": self.letters} if is_deadly else {})
        often = {"command": 4, "reply": 4, "note": 2}
        possible = [move for move, wire in wires.items() for _ in range(often.get(move, 1)) if wire]
        move = data.draw(st.sampled_from(["deadline", *possible]))
        if move == "deadline":
            self.pass_deadline()
            return
        wire = wires[move]
        position = data.draw(st.integers(0, len(wire) - 1))
        is_duplicated = move in ("command", "reply", "note") and data.draw(st.booleans())
        item = wire[position] if is_duplicated else wire.pop(position)
        match move:
            case "command":
                self.serve(item)
            case "reply":
                self.hear(*item)
            case "note":
                self.decide(item)
            case "die":
                self.die(item, has_effect=data.draw(st.booleans()))
            case "replay":
                self.replay(item)
            case "discard":
                self.discard(item)

    def assert_it_ended_right(self) -> None:
        compensated = {sending.step for sending in self.sent if sending.is_compensation}
        if self.saga.status == "completed":
            assert compensated == set()
            assert self.effects == {"place", "reserve", "authorize", "ship", "capture", "confirm"}
        else:
            assert self.effects == set(), "something was left behind"
            uncertain_or_done = {
                step.name
                for step in self.saga.steps
                if step.compensation and step.status not in ("pending", "refused")
            }
            refused = {step.name for step in self.saga.steps if step.status == "refused"}
            assert compensated - refused == uncertain_or_done, "a refusal may come after its step was undone"
        assert all(step.status in ("done", "undone", "refused", "pending") for step in self.saga.steps)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_every_interleaving_ends_with_everything_done_or_everything_undone(data):
    world = World(data.draw(st.sampled_from([None, *REFUSABLE]), label="refused"))
    for _ in range(data.draw(st.integers(0, 40), label="moves")):
        world.move_somehow(data, is_deadly=False)

    world.deliver_everything()

    assert world.saga.status in FINAL, "everything is answered, and still the saga is not at its end"
    world.assert_it_ended_right()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_with_dead_letters_it_ends_right_or_waits_for_a_person_and_replaying_them_all_ends_it(data):
    world = World(data.draw(st.sampled_from([None, *REFUSABLE]), label="refused"))
    for _ in range(data.draw(st.integers(0, 60), label="moves")):
        world.move_somehow(data, is_deadly=True)

    world.deliver_everything()

    waiting = [step for step in world.saga.steps if step.status in NEEDS_A_PERSON]
    if world.saga.status in FINAL:
        assert waiting == []
        if not world.letters:
            world.assert_it_ended_right()
    else:
        assert waiting != [], "it neither ends nor waits for anybody"
        assert all(step.letter_id is not None for step in waiting)
    while world.letters:
        world.replay(world.letters.pop())
    world.deliver_everything()

    if world.saga.status in FINAL:
        world.assert_it_ended_right()
    else:
        given_up = {step.name: step for step in world.saga.steps if step.status in NEEDS_A_PERSON}
        assert given_up.keys() & world.discarded, "everything that can be answered is answered"
        assert given_up.keys() <= world.discarded, "only what was discarded is still a person's"
        for name, step in given_up.items():
            assert step.status == "stuck" or name in ("capture", "confirm"), "before the pivot it is undone"


@settings(max_examples=50, deadline=None)
@given(st.sampled_from([None, *REFUSABLE]))
def test_without_missed_deadlines_the_outcome_is_inevitable(refused):
    world = World(refused)

    world.deliver_everything()

    assert world.saga.status == ("completed" if refused is None else "cancelled")
    assert world.saga.reason == (
        "" if refused is None else msgspec.to_builtins(world.refusals[refused])["reason"]
    )
