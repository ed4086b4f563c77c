"""A world in which messages come twice, late, in any order or not at all, and people act; and what must hold in it.

The services behave as ours do: a key has its effect once, a compensation takes its action's key too, a repeated command
gets the reply that it had, and a command that cannot be handled becomes a dead letter, of which the saga is told.
"""

from collections import Counter
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

import msgspec

from contracts.message import Event
from contracts.sagas import NoteDeadLetter, NoteDiscardedLetter
from sagas.decide import begin, decide
from sagas.definition import Saga, Wait
from sagas.errors import ActionRefused
from sagas.incoming import (
    Action,
    DeadlinePassed,
    Happened,
    Incoming,
    MarkUndone,
    Replied,
    Started,
)
from sagas.moves import Policy, Sending
from sagas.state import HAS_A_DEADLINE, NEEDS_A_PERSON, SagaState, SagaStatus, StepState, StepStatus
from sagas.switches import Switch, SwitchKind

NOON = datetime.fromisoformat("2026-06-01T12:00:00+00:00")
POLICY = Policy(deadline=60, longest_pause=300)
LAST = 400
"""Deliveries after which a history that is left to itself must have come to rest."""


class BrokenPromise(AssertionError):
    """Something happened that must never happen."""


class Letter(msgspec.Struct):
    """A command that could not be handled."""

    id: UUID
    sending: Sending


class World:
    """One saga and all around it. `random` decides whatever can be one way or another."""

    def __init__(self, definition: Saga, random: Random) -> None:
        self.definition = definition
        self.random = random
        self.now = NOON
        self.id = self._uuid()
        self.saga: SagaState = begin(definition, self.id)
        self.order = str(self.id)
        self.switches: list[Switch] = []
        self.commands: list[Sending] = []
        """On their way to a service."""
        self.replies: list[tuple[int, Replied]] = []
        """On their way to the saga, with their message ids."""
        self.heard: set[int] = set()
        self.kept: dict[str, Event | None] = {}
        """What a key has been answered with; None where its compensation came before."""
        self.effects: dict[str, str] = {}
        """Step to `kept` or `undone`, by what the services did."""
        self.by_hand: set[str] = set()
        self.letters: list[Letter] = []
        self.refusals_heard: set[str] = set()
        self.seen: Counter[str] = Counter()
        self.trace: list[str] = []
        self._message_ids = 0

    # The saga.

    def start(self) -> None:
        self._decide(Started(self._event(self.definition.starts)))

    def hear(self, incoming: Incoming) -> None:
        self._decide(incoming)

    def act(self, action: Action) -> bool:
        """A person wants this; False where it is refused."""
        try:
            self._decide(action)
        except ActionRefused:
            return False
        self.seen[f"action:{type(action).__name__}"] += 1
        if isinstance(action, MarkUndone):
            self.by_hand.add(action.step)
        return True

    def _decide(self, incoming: Incoming) -> None:
        before = self.saga
        decision = decide(
            self.definition, before, incoming, now=self.now, policy=POLICY, switches=self.switches
        )
        self.saga = decision.saga
        self.trace.append(self._line(incoming, decision.sendings))
        self._check(before, incoming, decision.sendings)
        if isinstance(incoming, Replied) and self._is_refusal(incoming):
            self.refusals_heard.add(incoming.step)
        self.commands += decision.sendings

    # The services.

    def deliver_command(self, place: int, *, twice: bool = False, dies: bool = False) -> None:
        """One of the commands arrives; it may come again, or become a dead letter."""
        sending = self.commands[place] if twice else self.commands.pop(place)
        if dies and not sending.question:
            letter = Letter(self._uuid(), sending)
            self.letters.append(letter)
            self.seen["dead letter"] += 1
            self._decide(
                NoteDeadLetter(
                    saga_id=self.id,
                    step=sending.step,
                    step_try=sending.step_try,
                    is_compensation=sending.is_compensation,
                    letter_id=letter.id,
                    problem="it cannot be handled",
                )
            )
            return
        self._handle(sending)

    def _handle(self, sending: Sending) -> None:
        name = sending.step
        step = self.definition.step(name)
        if sending.question:
            self._answer(sending, self.kept.get(name) or self._event(step.nothing))
            return
        key = f"{name}:undo" if sending.is_compensation else name
        if key in self.kept:
            if (reply := self.kept[key]) is not None:
                self._answer(sending, reply)
            return
        if sending.is_compensation:
            if self.effects.get(name) == "kept" or step.command is None:
                self.effects[name] = "undone"
            self.kept.setdefault(name, None)
            self.kept[key] = self._event(step.undone)
        elif step.refused is not None and self.random.random() < 0.15:
            self.kept[key] = self._event(step.refused)
        else:
            if name in self.effects:
                raise BrokenPromise(f"{name} had its effect twice")
            self.effects[name] = "kept"
            self.kept[key] = self._event(step.done)
        self._answer(sending, self.kept[key])

    def _answer(self, sending: Sending, event: Event | None) -> None:
        assert event is not None
        self._message_ids += 1
        self.replies.append((self._message_ids, Replied(sending.step, sending.step_try, event)))

    def deliver_reply(self, place: int, *, twice: bool = False) -> None:
        message_id, reply = self.replies[place] if twice else self.replies.pop(place)
        if message_id in self.heard:
            return
        self.heard.add(message_id)
        self._decide(reply)

    def replay(self, place: int) -> None:
        """A dead letter is handled after all."""
        self.seen["replay"] += 1
        self._handle(self.letters.pop(place).sending)

    def discard(self, place: int) -> None:
        letter = self.letters.pop(place)
        self.seen["discard"] += 1
        self._decide(
            NoteDiscardedLetter(
                saga_id=self.id,
                step=letter.sending.step,
                step_try=letter.sending.step_try,
                is_compensation=letter.sending.is_compensation,
                letter_id=letter.id,
            )
        )

    # Time, and the outside.

    def let_time_pass(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def look_at_the_clock(self) -> None:
        self._decide(DeadlinePassed())

    def say(self, name: str, *, is_refused: bool) -> None:
        """The event from outside comes for which a step waits, or will wait."""
        step = self.definition.step(name)
        event = step.refused if is_refused and step.refused else step.done
        assert event is not None
        self.seen["outside"] += 1
        if self.saga.steps[self.definition.positions[name]].status is StepStatus.PENDING:
            self.seen["outside early"] += 1
        self._decide(Happened(self._event(event)))

    def set_switch(self, name: str) -> None:
        self.seen["switch"] += 1
        self.switches.append(
            Switch(kind=SwitchKind.STEP, name=f"{self.definition.name}.{name}", set_at=self.now)
        )

    def lift_switches(self) -> None:
        self.switches = [
            msgspec.structs.replace(switch, lifted_at=switch.lifted_at or self.now)
            for switch in self.switches
        ]
        if self.saga.is_withheld:
            self.seen["withheld"] += 1
            self._decide(DeadlinePassed())

    # What must hold.

    def _check(self, before: SagaState, incoming: Incoming, sendings: tuple[Sending, ...]) -> None:
        saga = self.saga
        if before.is_final and (saga != before or sendings):
            raise BrokenPromise(f"a saga that was {before.status} has moved")
        if saga.is_final and (saga.next_deadline() is not None or saga.is_withheld or saga.under_way()):
            raise BrokenPromise("a saga that has ended still waits for something")
        if saga.paused_at is not None and sendings:
            raise BrokenPromise("a paused saga has sent something")
        pivot = self.definition.pivot_position
        for step in saga.steps:
            if (step.status in HAS_A_DEADLINE) != (step.deadline_at is not None):
                raise BrokenPromise(f"{step.name} is {step.status} with the deadline {step.deadline_at}")
            if step.status in (StepStatus.HELD, StepStatus.STUCK) and step.deadline_at is not None:
                raise BrokenPromise(f"{step.name} waits for a person and has a deadline")
        for sending in sendings:
            self._check_sending(before, sending, pivot)
        due = saga.next_deadline()
        if isinstance(incoming, DeadlinePassed) and due is not None and due <= self.now:
            raise BrokenPromise("it has looked at the clock, and would have to again at once")

    def _check_sending(self, before: SagaState, sending: Sending, pivot: int) -> None:
        position = self.definition.positions[sending.step]
        step = self.definition.steps[position]
        name = f"{self.definition.name}.{sending.step}"
        if any(switch.name == name and switch.lifted_at is None for switch in self.switches):
            raise BrokenPromise(f"{sending.step} was sent though a switch holds it back")
        if sending.question:
            self.seen["question"] += 1
            return
        if not sending.is_compensation:
            if self.saga.status is not SagaStatus.RUNNING:
                raise BrokenPromise(f"{sending.step} was sent by a saga that is {self.saga.status}")
            for other in self.definition.ancestors[position]:
                if self.saga.steps[other].status not in (StepStatus.DONE, StepStatus.SKIPPED):
                    raise BrokenPromise(f"{sending.step} was sent before {self.saga.steps[other].name}")
            if before.steps[position].sendings:
                self.seen["repeated"] += 1
            return
        self.seen["compensation"] += 1
        if position >= pivot:
            raise BrokenPromise(f"{sending.step} is undone after the pivot")
        if sending.step in self.refusals_heard:
            raise BrokenPromise(f"{sending.step} is undone, and it was refused")
        if step.command is not None and not before.steps[position].sendings:
            raise BrokenPromise(f"{sending.step} is undone, and was never sent")
        undoing = [state for state in self.saga.steps if state.status is StepStatus.UNDOING]
        if len(undoing) > 1 and all(state.sendings == 1 for state in undoing):
            self.seen["parallel compensations"] += 1
        for other in self.definition.descendants[position]:
            state = self.saga.steps[other]
            if state.is_to_be_undone or state.status in (StepStatus.SENT, StepStatus.ASKING):
                raise BrokenPromise(f"{sending.step} is undone before {state.name}, which is {state.status}")

    def check_the_end(self) -> None:
        """What holds when nothing is under way any more, and nobody interferes."""
        saga = self.saga
        self.seen[str(saga.status)] += 1
        if not saga.is_final:
            waiting = [step for step in saga.steps if step.status in NEEDS_A_PERSON]
            if not waiting:
                raise BrokenPromise(f"the saga is {saga.status} and waits for nobody")
            self.seen["waits for a person"] += 1
            return
        for state in saga.steps:
            self._check_effect(state)

    def _check_effect(self, state: StepState) -> None:
        step, effect = self.definition.step(state.name), self.effects.get(state.name)
        if isinstance(step, Wait) or state.name in self.by_hand:
            return
        if self.saga.status is SagaStatus.COMPLETED:
            if effect == "undone":
                raise BrokenPromise(f"{state.name} was undone, and the saga is completed")
            if step.command is not None and effect is None and state.status is not StepStatus.SKIPPED:
                raise BrokenPromise(f"{state.name} never had its effect, and the saga is completed")
        elif step.undo is not None and effect == "kept":
            raise BrokenPromise(f"{state.name} is kept, and the saga is cancelled")

    # Small things.

    def _event(self, kind: type[Event] | None) -> Event:
        assert kind is not None
        return kind(order=self.order)  # type: ignore[call-arg]  # the toys have this one field

    def _is_refusal(self, reply: Replied) -> bool:
        refused = self.definition.step(reply.step).refused
        return refused is not None and isinstance(reply.event, refused)

    def _uuid(self) -> UUID:
        return UUID(int=self.random.getrandbits(128))

    def _line(self, incoming: Incoming, sendings: tuple[Sending, ...]) -> str:
        sent = ", ".join(type(sending.command).__name__ for sending in sendings)
        steps = " ".join(f"{step.name}={step.status}" for step in self.saga.steps)
        flags = " paused" if self.saga.paused_at else ""
        return f"{self.now:%H:%M:%S} {incoming!r:.110} -> [{sent}] {self.saga.status}{flags} {steps}"
