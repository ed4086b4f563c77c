"""Whatever the order of deliveries, duplicates and missed deadlines: the saga ends, and it ends right.

The services are played by a model that keeps their promise: one effect for each idempotency key, the same answer
to every repetition, and no effect of an action whose compensation came first.
"""

from datetime import timedelta
from uuid import UUID

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.message import Event
from sagas.checkout import CHECKOUT
from sagas.decide import FINAL, DeadlinePassed, Policy, Replied, SagaState, Sending, Started, begin, decide
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
        self.sent: list[Sending] = []
        self.answers: dict[tuple[str, bool], Event] = {}
        self.effects: set[str] = {"place"}
        self.decide(Started(order_placed(ORDER_ID)))

    def decide(self, incoming: Started | Replied | DeadlinePassed) -> None:
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

    def check_sending(self, before: SagaState, sending: Sending) -> None:
        known = next(step for step in before.steps if step.name == sending.step)
        if sending.is_compensation:
            assert known.status != "refused", "what was refused has not happened"
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

    def hear(self, step: str, event: Event) -> None:
        self.decide(Replied(step, 1, event))

    def pass_deadline(self) -> None:
        due = self.saga.next_deadline()
        if due is not None:
            self.now = max(self.now, due) + timedelta(microseconds=1)
        self.decide(DeadlinePassed())

    def deliver_everything(self) -> None:
        while self.commands or self.replies:
            while self.commands:
                self.serve(self.commands.pop())
            while self.replies:
                self.hear(*self.replies.pop())


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_every_interleaving_ends_with_everything_done_or_everything_undone(data):
    world = World(data.draw(st.sampled_from([None, *REFUSABLE]), label="refused"))
    for _ in range(data.draw(st.integers(0, 40), label="moves")):
        moves = ["deadline", *["command"] * 4 * bool(world.commands), *["reply"] * 4 * bool(world.replies)]
        move = data.draw(st.sampled_from(moves))
        if move == "deadline":
            world.pass_deadline()
            continue
        wire = world.commands if move == "command" else world.replies
        position = data.draw(st.integers(0, len(wire) - 1))
        is_duplicated = data.draw(st.booleans())
        item = wire[position] if is_duplicated else wire.pop(position)
        if move == "command":
            world.serve(item)
        else:
            world.hear(*item)

    world.deliver_everything()

    assert world.saga.status in FINAL, "everything is answered, and still the saga is not at its end"
    compensated = {sending.step for sending in world.sent if sending.is_compensation}
    if world.saga.status == "completed":
        assert compensated == set()
        assert world.effects == {"place", "reserve", "authorize", "ship", "capture", "confirm"}
    else:
        assert world.effects == set(), "something was left behind"
        uncertain_or_done = {
            step.name
            for step in world.saga.steps
            if step.compensation and step.status not in ("pending", "refused")
        }
        assert compensated == uncertain_or_done
    assert all(step.status in ("done", "undone", "refused", "pending") for step in world.saga.steps)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from([None, *REFUSABLE]))
def test_without_missed_deadlines_the_outcome_is_inevitable(refused):
    world = World(refused)

    world.deliver_everything()

    assert world.saga.status == ("completed" if refused is None else "cancelled")
    assert world.saga.reason == (
        "" if refused is None else msgspec.to_builtins(world.refusals[refused])["reason"]
    )
