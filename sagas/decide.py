"""The decision of a saga: what it becomes, and what it says, on one more message. Pure: no database and no clock.

A step goes through these states:

    pending -> sent -> done -> undoing -> undone
                 |       refused              (the service said no: nothing happened, nothing is undone)
                 +-----> overdue -> undoing   (nobody knows what happened: it is undone)
                 +-----> failed  -> undoing   (its command is a dead letter: nobody knows either)
                 +-----> held                 (its command is a dead letter, and a person decides)
                                    undoing -> stuck (its compensation is a dead letter: the others go on)

Before the pivot a refusal or a missed deadline turns the saga round: what is done or unknown is undone, last
first. The pivot and the steps after it are repeated until they are answered. A compensation is repeated too; one
that is overdue does not keep the others waiting.

A dead letter ends the repetitions: nothing more is sent for a step that is held or stuck. Whatever was sent before, a
repetition that is still on its way or the letter replayed, is under the same idempotency key, so its reply is
awaited as before. Where the letter is discarded, no reply comes: a step before the pivot counts as failed, any other
goes on waiting for a person.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from contracts import reasons
from contracts.message import Command, Event
from contracts.sagas import NoteDeadLetter, NoteDiscardedLetter
from sagas.definition import REASON, Exhausted, Saga, build


class StepStatus(StrEnum):
    PENDING = "pending"
    SENT = "sent"
    DONE = "done"
    REFUSED = "refused"
    OVERDUE = "overdue"
    FAILED = "failed"
    HELD = "held"
    UNDOING = "undoing"
    UNDONE = "undone"
    STUCK = "stuck"


class SagaStatus(StrEnum):
    RUNNING = "running"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


FINAL = frozenset({SagaStatus.COMPLETED, SagaStatus.CANCELLED})
NEEDS_A_PERSON = (StepStatus.HELD, StepStatus.STUCK)
"""Nothing is sent for such a step, and it has no deadline."""
_ACTION_IS_AWAITED = (StepStatus.SENT, StepStatus.HELD)
_COMPENSATION_IS_AWAITED = (StepStatus.UNDOING, StepStatus.STUCK)
_TO_BE_UNDONE = (StepStatus.DONE, StepStatus.OVERDUE, StepStatus.FAILED)


class StepState(msgspec.Struct, frozen=True, kw_only=True):
    """One step of one saga. `sendings` counts the command that is out now: the step's, or its compensation's."""

    name: str
    status: StepStatus = StepStatus.PENDING
    step_try: int = 1
    sendings: int = 0
    sent_at: datetime | None = None
    deadline_at: datetime | None = None
    finished_at: datetime | None = None
    failure: str = ""
    compensation: str = ""
    """The wire type of what undoes the step, noted when its command is sent."""
    letter_id: UUID | None = None
    """The last dead letter of the step's command, or of its compensation's, and why it became one."""
    problem: str = ""
    discarded_letter_id: UUID | None = None
    """The last letter known to be discarded; that may be said before the letter itself is noted."""

    @property
    def is_letter_discarded(self) -> bool:
        return self.letter_id is not None and self.letter_id == self.discarded_letter_id


class SagaState(msgspec.Struct, frozen=True, kw_only=True):
    """One saga. `data` holds the fields of the start message and of the replies; what was said first stands."""

    id: UUID
    status: SagaStatus
    reason: str
    data: dict[str, Any]
    steps: tuple[StepState, ...]
    finished_at: datetime | None = None

    def next_deadline(self) -> datetime | None:
        """When the saga is to be looked at, if nothing comes before."""
        return min((step.deadline_at for step in self.steps if step.deadline_at), default=None)


class Started(msgspec.Struct, frozen=True):
    """The message that starts the saga has come, for the first time."""

    event: Event


class Replied(msgspec.Struct, frozen=True):
    """A service has answered the command of a step, or of its compensation."""

    step: str
    step_try: int
    event: Event


class DeadlinePassed(msgspec.Struct, frozen=True):
    """Time has passed; which steps are overdue follows from the time given."""


Incoming = Started | Replied | DeadlinePassed | NoteDeadLetter | NoteDiscardedLetter


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """A command to be sent. Repeated with the same step, try and direction it has the same idempotency key."""

    step: str
    step_try: int
    is_compensation: bool
    command: Command


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds until a step is overdue, and the longest pause between repetitions."""

    deadline: float
    longest_pause: float

    def due(self, now: datetime, *, sendings: int) -> datetime:
        """When the answer to this sending is overdue: later for each repetition."""
        return now + timedelta(seconds=min(self.longest_pause, self.deadline * 2.0 ** min(sendings - 1, 32)))


class Decision(msgspec.Struct, frozen=True):
    """The saga as it is from now on, and what is to be sent; both are stored in one transaction."""

    saga: SagaState
    sendings: tuple[Sending, ...]


def begin(definition: Saga, saga_id: UUID) -> SagaState:
    """A saga of which nothing has happened yet."""
    steps = tuple(StepState(name=step.name) for step in definition.steps)
    return SagaState(id=saga_id, status=SagaStatus.RUNNING, reason="", data={}, steps=steps)


def decide(
    definition: Saga,
    saga: SagaState,
    incoming: Incoming,
    *,
    now: datetime,
    policy: Policy,
) -> Decision:
    """What follows from one message. A message that changes nothing gives the saga back as it was."""
    if saga.status in FINAL:
        return Decision(saga, ())
    turn = _Turn(definition, saga, now, policy)
    match incoming:
        case Started():
            turn.start(incoming.event)
        case Replied():
            turn.reply(incoming)
        case DeadlinePassed():
            turn.check_deadlines()
        case NoteDeadLetter():
            turn.note_dead_letter(incoming)
        case NoteDiscardedLetter():
            turn.note_discarded_letter(incoming)
    return turn.decision()


class _Turn:
    """One decision in the making."""

    def __init__(self, definition: Saga, saga: SagaState, now: datetime, policy: Policy) -> None:
        self._definition = definition
        self._saga = saga
        self._steps = list(saga.steps)
        self._now = now
        self._policy = policy
        self._sendings: list[Sending] = []

    def decision(self) -> Decision:
        return Decision(msgspec.structs.replace(self._saga, steps=tuple(self._steps)), tuple(self._sendings))

    def start(self, event: Event) -> None:
        self._learn(event)
        for position, step in enumerate(self._definition.steps):
            if step.command is None:
                self._change(
                    position,
                    status=StepStatus.DONE,
                    finished_at=self._now,
                    compensation=step.undo.wire_type if step.undo else "",
                )
        self._go_forward()

    def reply(self, replied: Replied) -> None:
        position = self._position_of(replied.step, replied.step_try)
        if position is None:
            return
        step, state = self._definition.steps[position], self._steps[position]
        is_awaited = state.status in _ACTION_IS_AWAITED
        if isinstance(replied.event, step.done or ()) and is_awaited:
            self._learn(replied.event)
            self._change(
                position, status=StepStatus.DONE, finished_at=self._now, deadline_at=None, failure=""
            )
            self._go_forward()
        elif isinstance(replied.event, step.refused or ()) and is_awaited:
            reason = getattr(replied.event, REASON, "") or replied.event.wire_type
            self._change(
                position, status=StepStatus.REFUSED, finished_at=self._now, deadline_at=None, failure=reason
            )
            self._turn_round(reason)
        elif isinstance(replied.event, step.undone or ()) and state.status in _COMPENSATION_IS_AWAITED:
            self._change(position, status=StepStatus.UNDONE, finished_at=self._now, deadline_at=None)
            self._go_back()

    def check_deadlines(self) -> None:
        for position, state in enumerate(self._steps):
            if state.deadline_at is None or state.deadline_at > self._now:
                continue
            if state.status is StepStatus.UNDOING:
                self._send(position, is_compensation=True)
                self._go_back()
            elif position >= self._definition.pivot_position:
                self._send(position, is_compensation=False)
            else:
                self._change(
                    position, status=StepStatus.OVERDUE, deadline_at=None, failure=reasons.STEP_OVERDUE
                )
                self._turn_round(reasons.STEP_OVERDUE)

    def note_dead_letter(self, note: NoteDeadLetter) -> None:
        """The command that is awaited has become a dead letter; one that is awaited no more changes nothing."""
        position = self._awaited(note)
        if position is None:
            return
        self._change(position, letter_id=note.letter_id, problem=note.problem)
        self._exhaust(position, is_compensation=note.is_compensation)

    def note_discarded_letter(self, note: NoteDiscardedLetter) -> None:
        """No reply comes any more. Of several letters of one command the last counts."""
        position = self._awaited(note)
        if position is None:
            return
        state = self._steps[position]
        if state.status in NEEDS_A_PERSON and state.letter_id != note.letter_id:
            # A former letter of the command, or one that is still to be noted.
            if not state.is_letter_discarded:
                self._change(position, discarded_letter_id=note.letter_id)
            return
        self._change(position, letter_id=note.letter_id, discarded_letter_id=note.letter_id)
        self._exhaust(position, is_compensation=note.is_compensation)

    def _exhaust(self, position: int, *, is_compensation: bool) -> None:
        """Nothing more is sent for a command that is a dead letter: it is undone, or waits for a person."""
        state, step = self._steps[position], self._definition.steps[position]
        if is_compensation:
            self._change(position, status=StepStatus.STUCK, deadline_at=None)
            self._go_back()
            return
        is_given_up = state.is_letter_discarded or step.exhausted is Exhausted.COMPENSATE
        is_undone = is_given_up and position < self._definition.pivot_position
        self._change(
            position,
            status=StepStatus.FAILED if is_undone else StepStatus.HELD,
            deadline_at=None,
            failure=reasons.STEP_FAILED,
        )
        if is_undone:
            self._turn_round(reasons.STEP_FAILED)

    def _awaited(self, note: NoteDeadLetter | NoteDiscardedLetter) -> int | None:
        """The step whose reply to this very command is awaited."""
        position = self._position_of(note.step, note.step_try)
        if position is None:
            return None
        awaited = _COMPENSATION_IS_AWAITED if note.is_compensation else _ACTION_IS_AWAITED
        return position if self._steps[position].status in awaited else None

    def _position_of(self, step: str, step_try: int) -> int | None:
        for position, state in enumerate(self._steps):
            if state.name == step and state.step_try == step_try:
                return position
        return None

    def _learn(self, event: Event) -> None:
        data = {**event.to_payload(), **self._saga.data}
        self._saga = msgspec.structs.replace(self._saga, data=data)

    def _go_forward(self) -> None:
        if self._saga.status is not SagaStatus.RUNNING:
            return
        for position, state in enumerate(self._steps):
            if state.status is StepStatus.PENDING:
                self._send(position, is_compensation=False)
                return
            if state.status is not StepStatus.DONE:
                return
        self._finish(SagaStatus.COMPLETED)

    def _turn_round(self, reason: str) -> None:
        self._saga = msgspec.structs.replace(self._saga, status=SagaStatus.COMPENSATING, reason=reason)
        self._go_back()

    def _go_back(self) -> None:
        """Undo the last step that is left, one after the other; one that had to be repeated holds up no other."""
        for position in reversed(range(len(self._steps))):
            state = self._steps[position]
            if state.status is StepStatus.UNDOING and state.sendings == 1:
                return
            if state.compensation and state.status in _TO_BE_UNDONE:
                self._send(position, is_compensation=True)
                return
        if all(state.status not in _COMPENSATION_IS_AWAITED for state in self._steps):
            self._finish(SagaStatus.CANCELLED)

    def _send(self, position: int, *, is_compensation: bool) -> None:
        step, state = self._definition.steps[position], self._steps[position]
        command_type = step.undo if is_compensation else step.command
        assert command_type is not None
        status = StepStatus.UNDOING if is_compensation else StepStatus.SENT
        sendings = state.sendings + 1 if state.status is status else 1
        self._change(
            position,
            status=status,
            sendings=sendings,
            sent_at=self._now,
            finished_at=None,
            deadline_at=self._policy.due(self._now, sendings=sendings),
            compensation=step.undo.wire_type if step.undo else "",
        )
        command = build(command_type, self._saga.data, **{REASON: self._saga.reason})
        self._sendings.append(
            Sending(
                step=state.name, step_try=state.step_try, is_compensation=is_compensation, command=command
            )
        )

    def _finish(self, status: SagaStatus) -> None:
        self._saga = msgspec.structs.replace(self._saga, status=status, finished_at=self._now)

    def _change(self, position: int, **changes: Any) -> None:
        self._steps[position] = msgspec.structs.replace(self._steps[position], **changes)
