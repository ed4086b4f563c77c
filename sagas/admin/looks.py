"""The colours of sagas and steps, on every page that shows them."""

from contracts import reasons
from eventstore.admin_columns import Tone
from sagas.state import SagaStatus, StepStatus

REASONS = (
    reasons.OUT_OF_STOCK,
    reasons.CARD_DECLINED,
    reasons.UNDELIVERABLE,
    reasons.CAPTURE_REFUSED,
    reasons.SHIPMENT_LEFT,
    reasons.STEP_OVERDUE,
    reasons.STEP_FAILED,
    reasons.SAGA_OVERDUE,
    reasons.CANCELLED_BY_OPERATOR,
    reasons.RUN_AGAIN,
)
SAGA_TONES = {
    SagaStatus.RUNNING: Tone.WAITING,
    SagaStatus.COMPENSATING: Tone.WAITING,
    SagaStatus.COMPLETED: Tone.GOOD,
    SagaStatus.CANCELLED: Tone.UNDONE,
}
STEP_TONES = {
    StepStatus.PENDING: Tone.QUIET,
    StepStatus.SENT: Tone.WAITING,
    StepStatus.ASKING: Tone.WAITING,
    StepStatus.WAITING: Tone.WAITING,
    StepStatus.PAUSING: Tone.WAITING,
    StepStatus.DONE: Tone.GOOD,
    StepStatus.SKIPPED: Tone.QUIET,
    StepStatus.REFUSED: Tone.BAD,
    StepStatus.OVERDUE: Tone.BAD,
    StepStatus.FAILED: Tone.BAD,
    StepStatus.HELD: Tone.BAD,
    StepStatus.UNDOING: Tone.WAITING,
    StepStatus.UNDONE: Tone.UNDONE,
    StepStatus.STUCK: Tone.BAD,
    StepStatus.MENDED: Tone.UNDONE,
}
