"""The state of a saga, as a value."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec


class StepStatus(StrEnum):
    """How far a step has come; see `sagas.decide` for the moves."""

    PENDING = "pending"
    SENT = "sent"
    ASKING = "asking"
    WAITING = "waiting"
    PAUSING = "pausing"
    DONE = "done"
    SKIPPED = "skipped"
    REFUSED = "refused"
    OVERDUE = "overdue"
    FAILED = "failed"
    HELD = "held"
    UNDOING = "undoing"
    UNDONE = "undone"
    STUCK = "stuck"
    MENDED = "mended"


class SagaStatus(StrEnum):
    RUNNING = "running"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


FINAL = frozenset({SagaStatus.COMPLETED, SagaStatus.CANCELLED})
NEEDS_A_PERSON = (StepStatus.HELD, StepStatus.STUCK)
"""Nothing is sent for such a step, and it has no deadline."""
ACTION_IS_AWAITED = (StepStatus.SENT, StepStatus.ASKING, StepStatus.WAITING, StepStatus.HELD)
COMPENSATION_IS_AWAITED = (StepStatus.UNDOING, StepStatus.STUCK)
HAS_A_DEADLINE = (
    StepStatus.SENT,
    StepStatus.ASKING,
    StepStatus.WAITING,
    StepStatus.PAUSING,
    StepStatus.UNDOING,
)
UNDER_WAY = (*HAS_A_DEADLINE, *NEEDS_A_PERSON)
SATISFIED = (StepStatus.DONE, StepStatus.SKIPPED)
"""Those that come after such a step may begin."""
IN_FLIGHT = (StepStatus.SENT, StepStatus.ASKING)
"""Its command is out and its answer still awaited, also by a saga that has turned round."""


class StepState(msgspec.Struct, frozen=True, kw_only=True):
    """One step of one saga. `sendings` counts the command that is out now: the step's, or its compensation's."""

    name: str
    status: StepStatus = StepStatus.PENDING
    step_try: int = 1
    sendings: int = 0
    questions: int = 0
    """How often the service has been asked what became of the command."""
    sent_at: datetime | None = None
    deadline_at: datetime | None = None
    counted_at: datetime | None = None
    """Up to when `deadline_at` has been moved on for the time that a pause switch made it stand still."""
    is_frozen: bool = False
    """The deadline stands still, for as long as a pause switch holds the command back."""
    finished_at: datetime | None = None
    failure: str = ""
    compensation: str = ""
    """The wire type of what undoes the step, noted when its command is sent."""
    key_saga_id: UUID | None = None
    """The saga under whose idempotency keys the step ran, where a fork has taken it over from another."""
    letter_id: UUID | None = None
    """The last dead letter of the step's command, or of its compensation's, and why it became one."""
    problem: str = ""
    discarded_letter_id: UUID | None = None
    """The last letter known to be discarded; that may be said before the letter itself is noted."""

    @property
    def is_letter_discarded(self) -> bool:
        return self.letter_id is not None and self.letter_id == self.discarded_letter_id

    @property
    def is_to_be_undone(self) -> bool:
        """Whether a saga that has turned round has still to undo it."""
        if not self.compensation:
            return False
        if self.status is StepStatus.SKIPPED:
            return self.sendings > 0
        return self.status in (StepStatus.DONE, StepStatus.OVERDUE, StepStatus.FAILED)

    @property
    def is_repeated(self) -> bool:
        """Whether an answer was awaited in vain at least once."""
        return self.status in (StepStatus.SENT, StepStatus.UNDOING) and self.sendings > 1


class SagaState(msgspec.Struct, frozen=True, kw_only=True):
    """One saga. `data` holds the bodies of what has been said, by the step that said it; see `sagas.facts`."""

    id: UUID
    status: SagaStatus
    reason: str
    data: dict[str, Any]
    steps: tuple[StepState, ...]
    finished_at: datetime | None = None
    deadline_at: datetime | None = None
    """Until when the pivot has to be sent; None once it is, or where the definition gives no time."""
    paused_at: datetime | None = None
    """Since when a person has stopped it: what is answered is kept, and nothing is sent."""
    is_withheld: bool = False
    """A pause switch holds something back that would be sent otherwise."""
    stopped_at: datetime | None = None
    """Since when `deadline_at` stands still, because of that."""

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    def next_deadline(self) -> datetime | None:
        """When the saga is to be looked at, if nothing comes before."""
        if self.paused_at is not None or self.is_final:
            return None
        deadlines = [step.deadline_at for step in self.steps if step.deadline_at and not step.is_frozen]
        if self.deadline_at is not None and self.stopped_at is None:
            deadlines.append(self.deadline_at)
        return min(deadlines, default=None)

    def under_way(self) -> tuple[StepState, ...]:
        """The steps that it is at, in the order of the table."""
        return tuple(step for step in self.steps if step.status in UNDER_WAY)

    @property
    def needs_a_person(self) -> bool:
        return not self.is_final and any(step.status in NEEDS_A_PERSON for step in self.steps)

    def is_overdue(self, now: datetime) -> bool:
        """Whether an answer has been awaited in vain, or the time for the whole is over."""
        if self.is_final:
            return False
        late = self.deadline_at is not None and self.stopped_at is None and self.deadline_at <= now
        return late or any(step.is_repeated or step.status is StepStatus.ASKING for step in self.steps)
