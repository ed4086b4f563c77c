"""What a saga promises, checked on each of its turns by what was seen of it from outside.

A witness keeps its own record of what was sent and heard, so that a promise is not measured by the very state that
should keep it.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from contracts.message import Command
from sagas.definition import Saga, Step, Wait
from sagas.incoming import (
    DeadlinePassed,
    Happened,
    Incoming,
    MarkUndone,
    Replied,
    ResumeSaga,
    RetryStep,
    Started,
)
from sagas.moves import Decision, Sending
from sagas.state import (
    HAS_A_DEADLINE,
    IN_FLIGHT,
    NEEDS_A_PERSON,
    SATISFIED,
    SagaState,
    SagaStatus,
    StepState,
    StepStatus,
)
from sagas.switches import Switch, SwitchKind
from tests.simulation.services import BrokenPromise


class Witness:
    """What has been seen of one saga; `seen` counts it."""

    def __init__(self, definition: Saga, seen: Counter[str]) -> None:
        self._definition = definition
        self._seen = seen
        self._pivot = definition.pivot_position
        self._actions: Counter[str] = Counter()
        self._undoings: Counter[str] = Counter()
        self._said: dict[tuple[str, bool], Command] = {}
        self._refused: set[str] = set()
        self._undone: set[str] = set()
        self.by_hand: set[str] = set()
        self._patience: dict[str, tuple[StepStatus, datetime, timedelta]] = {}
        """Step to its state, since when, and how long it may stay so."""
        self._pauses: list[tuple[datetime, datetime]] = []
        self._withheld: list[tuple[datetime, datetime]] = []
        """When a pause switch held something back; the last may go on still."""
        self._began_at: datetime | None = None

    def look(
        self,
        before: SagaState,
        incoming: Incoming,
        decision: Decision,
        *,
        now: datetime,
        switches: Sequence[Switch],
    ) -> None:
        """Raises `BrokenPromise` where this turn breaks one."""
        saga = decision.saga
        self._hear(incoming)
        if before.is_final:
            self._check(
                saga == before and not decision.sendings, f"a saga that was {before.status} has moved"
            )
        elif isinstance(incoming, DeadlinePassed) and before.paused_at is None:
            self._check_overdue(before, decision, now=now, switches=switches)
            if before.deadline_at is not None and before.status is SagaStatus.RUNNING:
                self._check_own_deadline(before, decision, now)
        if saga.paused_at is not None and decision.sendings:
            raise BrokenPromise("a paused saga has sent something")
        for sending in decision.sendings:
            self._check_switches(sending, switches)
            self._check_sending(saga, sending)
            if not isinstance(incoming, RetryStep):
                was = before.steps[self._definition.positions[sending.step]].status
                is_a_persons = was is StepStatus.STUCK or (
                    was is StepStatus.HELD and not sending.is_compensation
                )
                self._check(not is_a_persons, f"{sending.step} was a person's, and was sent by itself")
        self._check_state(saga)
        if isinstance(incoming, DeadlinePassed):
            due = saga.next_deadline()
            self._check(
                due is None or due > now, "it has looked at the clock, and would have to again at once"
            )
        if isinstance(incoming, ResumeSaga) and before.paused_at is not None:
            self._check_resumed(saga, switches)
            self._pauses.append((before.paused_at, now))
        if isinstance(incoming, Started):
            self._began_at = now
        if saga.is_withheld and not before.is_withheld:
            self._withheld.append((now, now))
        elif before.is_withheld:
            self._withheld[-1] = (self._withheld[-1][0], now)
        self._note_patience(before, incoming, decision, now=now)

    def check_the_end(self, saga: SagaState, effects: dict[str, str]) -> None:
        """What holds of a saga that has ended, when nothing is under way any more."""
        for state in saga.steps:
            step, effect = self._definition.step(state.name), effects.get(state.name)
            if state.name in self.by_hand:
                continue
            if saga.status is SagaStatus.COMPLETED:
                self._check(effect != "undone", f"{state.name} was undone, and the saga is completed")
                is_missing = step.command is not None and effect is None
                self._check(
                    not is_missing or state.status is StepStatus.SKIPPED,
                    f"{state.name} never had its effect, and the saga is completed",
                )
            else:
                self._check(
                    step.undo is None or effect != "kept", f"{state.name} is kept, and the saga is cancelled"
                )
        if saga.status is SagaStatus.COMPLETED:
            self._check(not self._undoings, "it is completed, and has undone something")

    def _hear(self, incoming: Incoming) -> None:
        if isinstance(incoming, MarkUndone):
            self.by_hand.add(incoming.step)
        elif isinstance(incoming, Replied):
            step = self._definition.step(incoming.step)
            if type(incoming.event) is step.refused:
                self._refused.add(step.name)
            elif type(incoming.event) is step.undone and self._undoings[step.name]:
                self._undone.add(step.name)
        elif isinstance(incoming, Happened):
            for step in self._definition.waits():
                if type(incoming.event) is step.refused:
                    self._refused.add(step.name)

    # What is sent.

    def _check_switches(self, sending: Sending, switches: Sequence[Switch]) -> None:
        step = self._definition.step(sending.step)
        for switch in switches:
            if switch.lifted_at is None and self._is_meant(switch, step, type(sending.command)):
                raise BrokenPromise(
                    f"{sending.step} was sent though {switch.kind} {switch.name} is held back"
                )

    def _check_sending(self, saga: SagaState, sending: Sending) -> None:
        name = sending.step
        position = self._definition.positions[name]
        if sending.question:
            self._seen["question"] += 1
            self._check(self._actions[name] > 0, f"{name} is asked about, and was never sent")
            return
        known = self._said.setdefault((name, sending.is_compensation), sending.command)
        self._check(known == sending.command, f"{name} is repeated with another content under its key")
        if not sending.is_compensation:
            if name in self._actions:
                self._seen["repeated"] += 1
            self._actions[name] += 1
            self._check(saga.status is SagaStatus.RUNNING, f"{name} was sent by a saga that is {saga.status}")
            self._check(not self._undoings[name], f"{name} was sent, and is being undone")
            for other in self._definition.ancestors[position]:
                if saga.steps[other].status not in SATISFIED:
                    raise BrokenPromise(f"{name} was sent before {saga.steps[other].name}")
            return
        self._seen["compensation"] += 1
        self._undoings[name] += 1
        self._check_undoing(position, saga, is_first=self._undoings[name] == 1)
        undoing = [s for s in saga.steps if s.status is StepStatus.UNDOING and s.sendings == 1]
        if len(undoing) > 1:
            self._seen["parallel compensations"] += 1

    def _check_undoing(self, position: int, saga: SagaState, *, is_first: bool) -> None:
        step = self._definition.steps[position]
        self._check(
            saga.status is SagaStatus.COMPENSATING, f"{step.name} is undone while it is {saga.status}"
        )
        self._check(position < self._pivot, f"{step.name} is undone, and comes after the pivot")
        self._check(step.name not in self._refused, f"{step.name} is undone, and it was refused")
        is_run = step.command is None or self._actions[step.name] > 0
        self._check(is_run, f"{step.name} is undone, and was never sent")
        if self._pivot < len(saga.steps):
            pivot = self._definition.steps[self._pivot].name
            is_beyond = self._actions[pivot] > 0 and pivot not in self._refused
            self._check(not is_beyond, f"{step.name} is undone, and the pivot was sent")
        if not is_first:
            return
        for other in self._definition.descendants[position]:
            self._check_undone_first(saga.steps[other], step)

    def _check_undone_first(self, later: StepState, step: Step) -> None:
        of_later = self._definition.step(later.name)
        is_run = self._actions[later.name] > 0 or (of_later.command is None and of_later.undo is not None)
        if not is_run or later.name in self._refused:
            return
        problem = f"{step.name} is undone before {later.name}, which is {later.status}"
        self._check(later.status not in IN_FLIGHT, problem)
        if of_later.undo is not None:
            is_over = later.name in self._undone | self.by_hand or later.status is StepStatus.STUCK
            self._check(is_over or self._undoings[later.name] > 1, problem)

    # How it is.

    def _check_state(self, saga: SagaState) -> None:
        waits = False
        for step in saga.steps:
            if (step.status in HAS_A_DEADLINE) != (step.deadline_at is not None):
                raise BrokenPromise(f"{step.name} is {step.status} with the deadline {step.deadline_at}")
            if step.is_frozen and step.deadline_at is None:
                raise BrokenPromise(f"{step.name} is {step.status}, and its deadline stands still")
            waits = waits or step.status in NEEDS_A_PERSON
        if saga.is_final:
            is_idle = saga.next_deadline() is None and not saga.is_withheld and not saga.under_way()
            self._check(is_idle and saga.finished_at is not None, "it has ended, and waits for something")
        else:
            self._check(saga.finished_at is None, "it has a time of its end, and goes on")
            self._check(saga.needs_a_person == waits, "nobody is told that it waits for a person")

    # Time: how long it had to wait, less what stood still.

    def _note_patience(
        self, before: SagaState, incoming: Incoming, decision: Decision, *, now: datetime
    ) -> None:
        for old, state in zip(before.steps, decision.saga.steps, strict=True):
            if state is old:
                continue
            if state.deadline_at is None or state.sent_at is None:
                if old.deadline_at is not None:
                    self._patience.pop(state.name, None)
            elif (state.status, state.sent_at) != (old.status, old.sent_at):
                self._patience[state.name] = (state.status, now, state.deadline_at - now)
            elif state.deadline_at != old.deadline_at and (
                not isinstance(incoming, (DeadlinePassed, ResumeSaga)) or state.name in decision.missed
            ):
                # It was to be sent, and is held back: then it is due as soon as it can be.
                self._patience.pop(state.name, None)

    def _check_overdue(
        self, before: SagaState, decision: Decision, *, now: datetime, switches: Sequence[Switch]
    ) -> None:
        is_turned = decision.saga.status is not before.status
        for state in before.steps:
            if state.deadline_at is None or state.name not in self._patience:
                continue
            if is_turned and state.status in (StepStatus.WAITING, StepStatus.PAUSING):
                continue
            status, since, patience = self._patience[state.name]
            held, is_held = self._stood_still(state, since, now, switches)
            due = since + patience + held
            is_missed = state.name in decision.missed
            if (due <= now and not is_held) != is_missed:
                raise BrokenPromise(
                    f"{state.name} is {status} since {since:%H:%M:%S.%f}, may be for {patience}, and stood still for "
                    f"{held}: it {'was' if is_missed else 'was not'} found overdue"
                )
            later = decision.saga.steps[self._definition.positions[state.name]]
            if not is_missed and (later.status, later.sent_at) == (state.status, state.sent_at):
                self._check(
                    later.is_frozen == is_held, f"{state.name} stands still, or not: {later.is_frozen}"
                )
                self._check(
                    is_held or later.deadline_at == due,
                    f"{state.name} is due at {later.deadline_at}, which was to be {due}",
                )

    def _check_resumed(self, saga: SagaState, switches: Sequence[Switch]) -> None:
        """What stands still is waited for by a switch that is set: nobody else would look at it again."""
        held = [switch for switch in switches if switch.lifted_at is None]
        for state in saga.steps:
            if state.is_frozen:
                step = self._definition.step(state.name)
                commands = [command for command in (step.command, step.undo, step.ask) if command]
                is_held = any(self._is_meant(s, step, command) for s in held for command in commands)
                self._check(is_held, f"{state.name} stands still for ever")

    def _check_own_deadline(self, before: SagaState, decision: Decision, now: datetime) -> None:
        """The time for the whole stands still while something is withheld, or a person has stopped it."""
        assert self._began_at is not None and self._definition.deadline is not None
        due, counted = self._began_at + timedelta(seconds=self._definition.deadline), self._began_at
        is_held = False
        for start, end in sorted([*self._pauses, *self._withheld]):
            if start >= due:
                break
            is_held = is_held or (before.is_withheld and (start, end) == self._withheld[-1])
            end = now if is_held else end
            if end > counted:
                due += end - max(start, counted)
                counted = end
        is_due, is_missed = due <= now and not is_held, "" in decision.missed
        if is_due != is_missed:
            raise BrokenPromise(
                f"its time was to be over at {due:%H:%M:%S.%f}, and was found so: {is_missed}"
            )
        is_running = decision.saga.deadline_at is not None and not decision.saga.is_withheld
        if is_running and decision.saga.deadline_at != due:
            raise BrokenPromise(f"its time is over at {decision.saga.deadline_at}, which was to be {due}")

    def _stood_still(
        self, state: StepState, since: datetime, now: datetime, switches: Sequence[Switch]
    ) -> tuple[timedelta, bool]:
        """For how long, and whether it does now."""
        step = self._definition.step(state.name)
        command = {StepStatus.SENT: step.command, StepStatus.ASKING: step.ask, StepStatus.UNDOING: step.undo}
        out = command.get(state.status)
        meant = [s for s in switches if out is not None and self._is_meant(s, step, out)]
        spans = [*self._pauses, *((switch.set_at, switch.lifted_at or now) for switch in meant)]
        total, counted = timedelta(0), since
        for start, end in sorted(spans):
            if end > counted:
                total += end - max(start, counted)
                counted = end
        return total, any(switch.lifted_at is None for switch in meant)

    def _is_meant(self, switch: Switch, step: Step, command: type[Command]) -> bool:
        named = {
            SwitchKind.STEP: f"{self._definition.name}.{step.name}",
            SwitchKind.SERVICE: command.wire_type.split(".")[0],
            SwitchKind.TYPE: command.wire_type,
        }
        return named[switch.kind] == switch.name and not isinstance(step, Wait)

    @staticmethod
    def _check(holds: bool, problem: str) -> None:
        if not holds:
            raise BrokenPromise(problem)
