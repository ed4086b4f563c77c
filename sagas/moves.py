"""The moves of a saga: what a step may do next, and how it does it. Pure, as `sagas.decide`, which calls them."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from contracts.message import Command, Event
from sagas.definition import Pause, Saga, Step, Wait
from sagas.state import (
    COMPENSATION_IS_AWAITED,
    IN_FLIGHT,
    SATISFIED,
    SagaState,
    SagaStatus,
    StepState,
    StepStatus,
)
from sagas.switches import Switch, is_set, time_held

_KEEPS_GOING = (*IN_FLIGHT, *COMPENSATION_IS_AWAITED)
"""A saga that has turned round ends when none of its steps is so."""


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """A command to be sent. Repeated with the same step, try and direction it has the same idempotency key.

    With a `question` number it asks what became of the step's command.
    """

    step: str
    step_try: int
    is_compensation: bool
    command: Command
    question: int = 0
    key_saga_id: UUID | None = None


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds until a step is overdue, and the longest pause between repetitions, where the step says nothing else."""

    deadline: float
    longest_pause: float

    def due(self, step: Step, now: datetime, *, sendings: int) -> datetime:
        """When the answer to this sending is overdue: later for each repetition."""
        deadline = step.deadline or self.deadline
        longest = max(deadline, step.longest_pause or self.longest_pause)
        return now + timedelta(seconds=min(longest, deadline * 2.0 ** min(sendings - 1, 32)))


class Decision(msgspec.Struct, frozen=True):
    """The saga as it is from now on, and what is to be sent; both are stored in one transaction.

    `missed` names the steps that were found overdue, '' for the saga's own deadline.
    """

    saga: SagaState
    sendings: tuple[Sending, ...]
    missed: tuple[str, ...] = ()


class Moves:
    """One saga on its way from one state to the next."""

    def __init__(
        self,
        definition: Saga,
        saga: SagaState,
        now: datetime,
        policy: Policy,
        switches: Sequence[Switch] = (),
    ) -> None:
        self._definition = definition
        self._saga = saga
        self._steps = list(saga.steps)
        self._now = now
        self._policy = policy
        self._switches = switches
        self._sendings: list[Sending] = []
        self._missed: list[str] = []

    def decision(self) -> Decision:
        is_withheld = self._waits_for_switches()
        self._stop_or_go_on_counting(is_withheld=is_withheld)
        saga = msgspec.structs.replace(self._saga, steps=tuple(self._steps), is_withheld=is_withheld)
        return Decision(saga, tuple(self._sendings), tuple(self._missed))

    def _waits_for_switches(self) -> bool:
        return not self._saga.is_final and (
            any(step.is_frozen for step in self._steps)
            or (
                bool(self._switches)
                and any(
                    self._is_held_back(position, is_compensation=undo) for position, undo in self._ready()
                )
            )
        )

    def _stop_or_go_on_counting(self, *, is_withheld: bool) -> None:
        """The saga's own deadline stands still while something is withheld, unless it was over before."""
        saga = self._saga
        if saga.deadline_at is None:
            if saga.stopped_at is not None:
                self._become(stopped_at=None)
            return
        is_stopped = (
            is_withheld
            and saga.paused_at is None
            and (saga.stopped_at is not None or saga.deadline_at > self._now)
        )
        if is_stopped and saga.stopped_at is None:
            self._become(stopped_at=self._now)
        elif saga.stopped_at is not None and not is_stopped:
            stood_still = self._now - saga.stopped_at
            self._become(stopped_at=None, deadline_at=saga.deadline_at + stood_still)

    def go_on(self) -> None:
        """Begin whatever may begin now, or undo what may be undone now, and end the saga where nothing is left."""
        if self._saga.paused_at is not None or self._saga.is_final:
            return
        for position, is_compensation in list(self._ready()):
            if not self._is_held_back(position, is_compensation=is_compensation):
                self._set_out(position, is_compensation=is_compensation)
        if self._saga.status is SagaStatus.RUNNING:
            if all(state.status in SATISFIED for state in self._steps):
                self._finish(SagaStatus.COMPLETED)
        elif not any(state.is_to_be_undone or state.status in _KEEPS_GOING for state in self._steps):
            self._finish(SagaStatus.CANCELLED)

    def _ready(self) -> Iterator[tuple[int, bool]]:
        """The steps that may begin or be undone now, each with whether it is to be undone."""
        if self._saga.status is SagaStatus.RUNNING:
            satisfied = {i for i, state in enumerate(self._steps) if state.status in SATISFIED}
            for position, state in enumerate(self._steps):
                if state.status is StepStatus.PENDING and self._definition.ancestors[position] <= satisfied:
                    yield position, False
        elif self._saga.status is SagaStatus.COMPENSATING:
            waited_for = {i for i, state in enumerate(self._steps) if self._keeps_waiting(state)}
            for position in reversed(range(len(self._steps))):
                is_free = self._definition.descendants[position].isdisjoint(waited_for)
                if is_free and self._steps[position].is_to_be_undone:
                    yield position, True

    @staticmethod
    def _keeps_waiting(state: StepState) -> bool:
        """Whether the steps before this one are not undone yet. One that had to be repeated holds up no other."""
        is_undoing = state.status is StepStatus.UNDOING and state.sendings == 1
        return state.is_to_be_undone or state.status in IN_FLIGHT or is_undoing

    def _turn_round(self, reason: str) -> None:
        """What has not gone out does not go out any more; what waits for a person is given up."""
        if self._saga.status is not SagaStatus.RUNNING:
            return
        self._become(status=SagaStatus.COMPENSATING, reason=reason, deadline_at=None)
        for position, state in enumerate(self._steps):
            if state.status in (StepStatus.WAITING, StepStatus.PAUSING):
                self._settle(position, StepStatus.PENDING)
            elif state.status is StepStatus.HELD:
                self._hold(position, StepStatus.FAILED if state.sendings else StepStatus.PENDING)

    def _set_out(self, position: int, *, is_compensation: bool) -> None:
        step = self._definition.steps[position]
        if isinstance(step, Pause):
            self._wait(position, self._now + timedelta(seconds=step.seconds))
        elif isinstance(step, Wait):
            self._wait(position, self._policy.due(step, self._now, sendings=1))
        else:
            self._send(position, is_compensation=is_compensation, sendings=1)

    def _wait(self, position: int, until: datetime) -> None:
        is_pause = isinstance(self._definition.steps[position], Pause)
        self._change(
            position,
            status=StepStatus.PAUSING if is_pause else StepStatus.WAITING,
            sent_at=self._now,
            deadline_at=until,
            counted_at=None,
            failure="",
        )

    def _send(self, position: int, *, is_compensation: bool, sendings: int) -> None:
        step = self._definition.steps[position]
        command = step.undo if is_compensation else step.command
        assert command is not None
        if position == self._definition.pivot_position:
            self._become(deadline_at=None)
        self._change(
            position,
            status=StepStatus.UNDOING if is_compensation else StepStatus.SENT,
            sendings=sendings,
            sent_at=self._now,
            finished_at=None,
            deadline_at=self._policy.due(step, self._now, sendings=sendings),
            counted_at=None,
            is_frozen=False,
            compensation=step.undo.wire_type if step.undo else "",
        )
        self._say(position, command, is_compensation=is_compensation)

    def _ask(self, position: int) -> None:
        step, state = self._definition.steps[position], self._steps[position]
        assert step.ask is not None
        if self._is_held_back(position, command=step.ask):
            self._freeze(position)
            return
        questions = state.questions + 1
        self._change(
            position,
            status=StepStatus.ASKING,
            questions=questions,
            sent_at=self._now,
            deadline_at=self._policy.due(step, self._now, sendings=questions),
            counted_at=None,
            is_frozen=False,
        )
        self._say(position, step.ask, is_compensation=False, question=questions)

    def _say(
        self, position: int, command: type[Command], *, is_compensation: bool, question: int = 0
    ) -> None:
        state = self._steps[position]
        self._sendings.append(
            Sending(
                step=state.name,
                step_try=state.step_try,
                is_compensation=is_compensation,
                command=self._definition.build(position, command, self._saga.data, reason=self._saga.reason),
                question=question,
                key_saga_id=state.key_saga_id,
            )
        )

    def _settle(self, position: int, status: StepStatus) -> None:
        """The step has come to this end; nothing about it is awaited."""
        is_over = status is not StepStatus.PENDING
        self._change(
            position,
            status=status,
            finished_at=self._now if is_over else None,
            deadline_at=None,
            counted_at=None,
            is_frozen=False,
        )

    def _hold(self, position: int, status: StepStatus) -> None:
        """The step is stopped without an answer."""
        self._change(position, status=status, deadline_at=None, counted_at=None, is_frozen=False)

    # Questions about the steps.

    def _can_be_undone(self, position: int) -> bool:
        return position < self._definition.pivot_position

    def _command_out(self, position: int) -> type[Command] | None:
        """The command whose answer is awaited."""
        step, state = self._definition.steps[position], self._steps[position]
        if state.status is StepStatus.UNDOING:
            return step.undo
        return step.ask if state.status is StepStatus.ASKING else step.command

    def _is_held_back(
        self, position: int, *, is_compensation: bool = False, command: type[Command] | None = None
    ) -> bool:
        """Whether a pause switch holds back the step's command, or its compensation's, or the one given."""
        if not self._switches:
            return False
        step = self._definition.steps[position]
        command = command or (step.undo if is_compensation else step.command)
        return command is not None and any(
            switch.lifted_at is None and self._matches(switch, position, command) for switch in self._switches
        )

    def _matches(self, switch: Switch, position: int, command: type[Command]) -> bool:
        return switch.matches(self._definition.name, self._definition.steps[position].name, command)

    def _position_of(self, step: str, step_try: int) -> int | None:
        position = self._definition.positions.get(step)
        return position if position is not None and self._steps[position].step_try == step_try else None

    def _count_time_held(self, position: int) -> None:
        """Move the deadline on by the time for which a pause switch made it stand still."""
        state = self._steps[position]
        if not self._switches or state.deadline_at is None or state.sent_at is None:
            if state.is_frozen:
                self._change(position, is_frozen=False)
            return
        command = self._command_out(position)
        matching = (
            [] if command is None else [s for s in self._switches if self._matches(s, position, command)]
        )
        held = time_held(
            matching, since=max(state.sent_at, state.counted_at or state.sent_at), until=self._now
        )
        is_frozen = is_set(matching)
        if held or is_frozen != state.is_frozen:
            self._change(
                position,
                deadline_at=state.deadline_at + held,
                counted_at=self._now,
                is_frozen=is_frozen,
            )

    def _freeze(self, position: int) -> None:
        """Something is due for the step that a pause switch holds back; it is due again when that is lifted."""
        self._change(position, deadline_at=self._now, counted_at=self._now, is_frozen=True)

    def _learn(self, name: str, event: Event) -> None:
        if name not in self._saga.data:
            self._become(data={**self._saga.data, name: event.to_payload()})

    def _finish(self, status: SagaStatus) -> None:
        self._become(status=status, finished_at=self._now)

    def _become(self, **changes: Any) -> None:
        self._saga = msgspec.structs.replace(self._saga, **changes)

    def _change(self, position: int, **changes: Any) -> None:
        self._steps[position] = msgspec.structs.replace(self._steps[position], **changes)
