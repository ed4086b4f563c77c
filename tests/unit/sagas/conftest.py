"""One checkout saga, moved by hand: no database, no broker, and a clock that the test turns."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from contracts.message import Command, Event
from contracts.sagas import NoteDeadLetter, NoteDiscardedLetter
from sagas.checkout import CHECKOUT_1 as CHECKOUT
from sagas.decide import Incoming, begin, decide
from sagas.incoming import Action, DeadlinePassed, Replied, Started
from sagas.moves import Policy, Sending
from sagas.state import SagaState, StepState
from tests.builders import NOON, Replies, order_placed

POLICY = Policy(deadline=60, longest_pause=300)


class Story:
    """What a saga has become, and everything it has sent so far."""

    def __init__(self) -> None:
        self.definition = CHECKOUT
        self.order_id = uuid4()
        self.placed = order_placed(self.order_id)
        self.replies = Replies(self.order_id)
        self.saga: SagaState = begin(CHECKOUT, uuid4())
        self.now: datetime = NOON
        self.sent: list[Sending] = []

    def start(self) -> list[type[Command]]:
        return self._decide(Started(self.placed))

    def hear(self, step: str, event: Event) -> list[type[Command]]:
        """A reply comes; returns the types of what the saga sends because of it."""
        return self._decide(Replied(step, 1, event))

    def hear_of_dead_letter(
        self, step: str, letter_id: UUID, *, is_compensation: bool = False, step_try: int = 1
    ) -> list[type[Command]]:
        return self._decide(
            NoteDeadLetter(
                saga_id=self.saga.id,
                step=step,
                step_try=step_try,
                is_compensation=is_compensation,
                letter_id=letter_id,
                problem="ValueError: the handler has a bad day",
            )
        )

    def hear_of_discard(
        self, step: str, letter_id: UUID, *, is_compensation: bool = False
    ) -> list[type[Command]]:
        return self._decide(
            NoteDiscardedLetter(
                saga_id=self.saga.id,
                step=step,
                step_try=1,
                is_compensation=is_compensation,
                letter_id=letter_id,
            )
        )

    def act(self, action: Action) -> list[type[Command]]:
        """A person does this."""
        return self._decide(action)

    def let_deadline_pass(self) -> list[type[Command]]:
        """Time goes on until the saga's next deadline is just over."""
        due = self.saga.next_deadline()
        assert due is not None, "the saga waits for nothing"
        self.now = max(self.now, due) + timedelta(microseconds=1)
        return self.look_at_the_clock()

    def look_at_the_clock(self) -> list[type[Command]]:
        return self._decide(DeadlinePassed())

    def go_on_until(self, step: str) -> None:
        """Start and answer well, until this step's command is out."""
        self.start()
        for name, reply in self.good_replies().items():
            if name == step:
                return
            self.hear(name, reply)

    def good_replies(self) -> dict[str, Event]:
        r = self.replies
        return {
            "reserve": r.reserved,
            "authorize": r.authorized,
            "ship": r.booked,
            "capture": r.captured,
            "confirm": r.confirmed,
        }

    def undone_replies(self) -> dict[str, Event]:
        r = self.replies
        return {
            "place": r.cancelled,
            "reserve": r.released,
            "authorize": r.voided,
            "ship": r.shipment_cancelled,
        }

    def undo_everything(self) -> list[type[Command]]:
        """Answer each compensation that is out until none is left; returns what was sent meanwhile, in order."""
        sent: list[type[Command]] = []
        while undoing := [step.name for step in self.saga.steps if step.status == "undoing"]:
            sent += self.hear(undoing[-1], self.undone_replies()[undoing[-1]])
        return sent

    def step(self, name: str) -> StepState:
        return next(step for step in self.saga.steps if step.name == name)

    def compensations(self) -> list[str]:
        return [sending.step for sending in self.sent if sending.is_compensation]

    def _decide(self, incoming: Incoming) -> list[type[Command]]:
        decision = decide(CHECKOUT, self.saga, incoming, now=self.now, policy=POLICY)
        self.saga = decision.saga
        self.sent += decision.sendings
        return [type(sending.command) for sending in decision.sendings]


@pytest.fixture
def story() -> Story:
    return Story()
