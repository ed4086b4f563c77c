"""A world in which messages come twice, late and in any order, processes die, people act and switches are set.

What a saga decides and what it sends are one transaction: a process that dies before its end has done nothing, and is
given the message again; one that dies after it is given a message again that the saga has had. No message is lost. A
command that cannot be handled becomes a dead letter, of which the saga hears as it does of everything: some time.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import msgspec

from contracts.sagas import NoteDeadLetter, NoteDiscardedLetter
from sagas.actions import possible_actions, refusal_of
from sagas.decide import begin, decide
from sagas.definition import Saga
from sagas.errors import ActionRefused
from sagas.incoming import Action, DeadlinePassed, Happened, Incoming, Replied, Started
from sagas.moves import Policy, Sending
from sagas.state import NEEDS_A_PERSON, SagaState, StepStatus
from sagas.switches import Switch, SwitchKind
from tests.simulation.promises import Witness
from tests.simulation.services import BrokenPromise, Services
from tests.simulation.tables import example

NOON = datetime.fromisoformat("2026-06-01T12:00:00+00:00")
POLICY = Policy(deadline=60, longest_pause=300)


class Letter(msgspec.Struct):
    """A command that could not be handled."""

    id: UUID
    sending: Sending


class Clock:
    """What all sagas have in common: the time, and the pause switches."""

    def __init__(self) -> None:
        self.now = NOON
        self.switches: list[Switch] = []

    @property
    def is_anything_held(self) -> bool:
        return any(switch.lifted_at is None for switch in self.switches)

    def set_switch(self, kind: SwitchKind, name: str) -> None:
        """Once: a switch that is set already is left as it is."""
        if not any((s.kind, s.name, s.lifted_at) == (kind, name, None) for s in self.switches):
            self.switches.append(Switch(kind=kind, name=name, set_at=self.now))


class World:
    """One saga and all around it. `random` decides whatever can be one way or another."""

    def __init__(
        self,
        definition: Saga,
        random: Random,
        clock: Clock | None = None,
        seen: Counter[str] | None = None,
    ) -> None:
        self.definition = definition
        self.random = random
        self.clock = clock or Clock()
        self.id = self._uuid()
        self.saga: SagaState = begin(definition, self.id)
        self.seen: Counter[str] = Counter() if seen is None else seen
        self.services = Services(definition, random)
        self.witness = Witness(definition, self.seen)
        self.commands: list[Sending] = []
        """In the outbox or the broker, on their way to a service."""
        self.mail: list[tuple[int, Incoming]] = []
        """On its way to the saga, with message ids."""
        self.letters: list[Letter] = []
        self._heard: set[int] = set()
        self._message_ids = 0
        self._story: list[tuple[Any, ...]] = []

    # The saga.

    def start(self) -> None:
        self.hear(Started(example(self.definition.starts)))

    def hear(self, incoming: Incoming) -> None:
        """The saga is moved, and sends what it says."""
        before, now, switches = self.saga, self.clock.now, self.clock.switches
        decision = decide(self.definition, before, incoming, now=now, policy=POLICY, switches=switches)
        self.saga = decision.saga
        self._story.append((now, incoming, decision.saga, decision.sendings))
        self.witness.look(before, incoming, decision, now=now, switches=switches)
        self.commands += decision.sendings
        if decision.saga.is_withheld:
            self.seen["withheld"] += 1

    def act(self, action: Action) -> bool:
        """A person wants this; False where it is refused, as it was said that it would be."""
        before, sent = self.saga, len(self.commands)
        refusal = refusal_of(self.definition, before, action, self.clock.switches)
        try:
            self.hear(action)
        except ActionRefused as refused:
            if str(refused) != refusal:
                raise BrokenPromise(f"{action} was refused: {refused}. It was said: {refusal}") from refused
            return False
        if refusal is not None:
            raise BrokenPromise(f"{action} was done, and it was said: {refusal}")
        if self.saga == before and len(self.commands) == sent:
            raise BrokenPromise(f"{action} was allowed, and changed nothing")
        self.seen[f"action:{type(action).__name__}"] += 1
        return True

    def _post(self, incoming: Incoming) -> None:
        self._message_ids += 1
        self.mail.append((self._message_ids, incoming))

    def deliver_mail(self, place: int, *, twice: bool = False, dies: bool = False) -> None:
        """The saga hears of something; with `dies` its process does, before the transaction has ended."""
        message_id, incoming = self.mail[place]
        if dies and message_id not in self._heard:
            self.seen["crash"] += 1
            self._die_deciding(incoming)
            return
        if not twice:
            del self.mail[place]
        if message_id not in self._heard:
            self._heard.add(message_id)
            self.hear(incoming)

    def _die_deciding(self, incoming: Incoming) -> None:
        """Nothing of it has happened, and whoever decides it again decides the same."""
        given = {"now": self.clock.now, "policy": POLICY, "switches": self.clock.switches}
        first, second = (decide(self.definition, self.saga, incoming, **given) for _ in range(2))
        if first != second:
            raise BrokenPromise(f"{incoming} is decided in two ways")

    # The services.

    def deliver_command(self, place: int, *, twice: bool = False, dies: bool = False) -> None:
        """A command arrives; with `twice` it comes again, with `dies` its service dies before it stores anything."""
        sending = self.commands[place] if twice or dies else self.commands.pop(place)
        if dies:
            self.seen["crash"] += 1
            self.services.die(sending)
            return
        self._handle(sending)

    def _handle(self, sending: Sending) -> None:
        reply = self.services.handle(sending)
        self._story.append((self.clock.now, sending, reply))
        self._post(Replied(sending.step, sending.step_try, reply))

    def bury(self, place: int) -> None:
        """A command becomes a dead letter, whether or not it had its effect."""
        sending = self.commands.pop(place)
        if self.random.random() < 0.3:
            self.services.die(sending)
        letter = Letter(self._uuid(), sending)
        self.letters.append(letter)
        self.seen["dead letter"] += 1
        self._post(NoteDeadLetter(problem="it cannot be handled", **self._of(letter)))

    def replay(self, place: int) -> None:
        self.seen["replay"] += 1
        self.commands.append(self.letters.pop(place).sending)

    def discard(self, place: int) -> None:
        self.seen["discard"] += 1
        self._post(NoteDiscardedLetter(**self._of(self.letters.pop(place))))

    def _of(self, letter: Letter) -> dict[str, Any]:
        sending = letter.sending
        return {
            "saga_id": self.id,
            "step": sending.step,
            "step_try": sending.step_try,
            "is_compensation": sending.is_compensation,
            "letter_id": letter.id,
        }

    # Time, and the outside.

    def look_at_the_clock(self) -> None:
        self.hear(DeadlinePassed())

    def let_time_pass(self, seconds: float) -> None:
        self.clock.now += timedelta(seconds=seconds)

    def wait_for_the_deadline(self) -> bool:
        """Until the moment when the saga wants to be looked at; False where it waits for nothing."""
        due = self.saga.next_deadline()
        if due is None:
            return False
        self.clock.now = max(self.clock.now, due)
        self.look_at_the_clock()
        return True

    def say(self, name: str, *, is_refused: bool = False) -> None:
        """What this step waits for, or will wait for, happens outside."""
        step = self.definition.step(name)
        kind = step.refused if is_refused and step.refused else step.done
        assert kind is not None
        self.seen["outside"] += 1
        if self.saga.steps[self.definition.positions[name]].status is StepStatus.PENDING:
            self.seen["outside early"] += 1
        self._post(Happened(example(kind)))

    def set_switch(self, name: str, kind: SwitchKind = SwitchKind.STEP, *, about: str = "command") -> None:
        """Hold back this step, the service of its command (or its `undo` or `ask`), or that type only."""
        command = getattr(self.definition.step(name), about)
        if command is None:
            return
        names = {
            SwitchKind.STEP: f"{self.definition.name}.{name}",
            SwitchKind.SERVICE: command.owner(),
            SwitchKind.TYPE: command.wire_type,
        }
        self.seen["switch"] += 1
        self.clock.set_switch(kind, names[kind])

    def lift_switches(self, which: Sequence[Switch] | None = None) -> None:
        """All, or those given. A saga from which something was withheld is to be looked at then."""
        lifted = self.clock.switches if which is None else which
        now = self.clock.now
        self.clock.switches = [
            msgspec.structs.replace(switch, lifted_at=switch.lifted_at or now) if switch in lifted else switch
            for switch in self.clock.switches
        ]
        self._story.append((now, f"{len(lifted)} switches are lifted"))

    def note_lifting(self) -> None:
        if self.saga.is_withheld:
            self._post(DeadlinePassed())

    # How it ends.

    def waiting_for_a_person(self) -> list[str]:
        return [step.name for step in self.saga.steps if step.status in NEEDS_A_PERSON]

    def possible(self) -> list[Action]:
        """What a person can do to the steps that wait for one."""
        return [
            kind(state.name)
            for state in self.saga.steps
            if state.status in NEEDS_A_PERSON
            for kind in possible_actions(self.definition, self.saga, state, self.clock.switches)
        ]

    def check_the_end(self) -> None:
        """What holds when nothing is under way any more, and nobody interferes."""
        self.seen[str(self.saga.status)] += 1
        if self.saga.is_final:
            self.witness.check_the_end(self.saga, self.services.effects)
        elif not self.waiting_for_a_person():
            raise BrokenPromise(f"the saga is {self.saga.status} and waits for nobody")

    # Small things.

    def _uuid(self) -> UUID:
        return UUID(int=self.random.getrandbits(128))

    def trace(self) -> Iterator[str]:
        """What happened, a line each."""
        yield f"{self.definition.name} {self.id}"
        for now, *what in self._story:
            yield f"{now:%H:%M:%S.%f} {_told(*what)}"


def _told(what: Any, saga: Any = None, sendings: Sequence[Sending] = ()) -> str:
    if isinstance(what, str):
        return what
    if isinstance(what, Sending):
        question = f" (question {what.question})" if what.question else ""
        return f"    {type(what.command).__name__}{question} is handled: {type(saga).__name__}"
    sent = " ".join(type(sending.command).__name__ for sending in sendings)
    steps = " ".join(f"{step.name}={step.status}{'*' * step.is_frozen}" for step in saga.steps)
    flags = f"{' paused' if saga.paused_at else ''}{' withheld' if saga.is_withheld else ''}"
    message = f" {type(what.event).__name__}" if hasattr(what, "event") else ""
    of = f" {what.step}" if hasattr(what, "step") else ""
    return f"{type(what).__name__}{of}{message} -> [{sent}] {saga.status}{flags}: {steps}"
