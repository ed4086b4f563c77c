"""What a dead letter holds up in its saga: the sagas are above the letters, and known to operations alone."""

import msgspec

from deadletters.models import DeadLetter
from eventstore.admin_columns import badge, page_of
from sagas.admin.looks import SAGA_TONES, STEP_TONES
from sagas.models import SagaRecord, StepRecord
from sagas.state import NEEDS_A_PERSON, SagaStatus, StepStatus


class LetterSaga(msgspec.Struct, frozen=True, kw_only=True):
    """The saga of a letter's message or order. `step` is the letter's own step; `waits` says whether it waits for a
    person because of this letter; `behind` are the steps that come after it and have not begun."""

    page: str
    status: str
    step: str = ""
    step_status: str = ""
    waits: bool = False
    behind: list[str] = []


def saga_of(letter: DeadLetter) -> LetterSaga | None:
    """One statement; None where no saga is known of the letter."""
    if letter.saga_id is not None:
        steps = StepRecord.objects.filter(saga=letter.saga_id)
    elif letter.correlation_id:
        steps = StepRecord.objects.filter(saga__correlation_id=letter.correlation_id)
    else:
        return None
    found = list(steps.select_related("saga").order_by("saga__started_at", "position"))
    if not found:
        return None
    saga: SagaRecord = found[0].saga
    found = [step for step in found if step.saga_id == saga.id]
    own = next((step for step in found if letter.id == step.letter_id), None) or next(
        (step for step in found if letter.saga_id and letter.step == step.name), None
    )
    page = page_of("sagas_sagarecord", f"{saga.name} {saga.business_key}", id=saga.id)
    status = SagaStatus(saga.status)
    known = {"page": page, "status": badge(status.value, SAGA_TONES[status])}
    if own is None:
        return LetterSaga(**known)
    behind = [
        step.name for step in found if step.position > own.position and step.status == StepStatus.PENDING
    ]
    return LetterSaga(
        **known,
        step=own.name,
        step_status=badge(own.status, STEP_TONES[StepStatus(own.status)]),
        waits=own.letter_id == letter.id and own.status in NEEDS_A_PERSON,
        behind=behind if status not in (SagaStatus.COMPLETED, SagaStatus.CANCELLED) else [],
    )
