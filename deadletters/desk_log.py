"""The operators' log: who did what, when and why, and who was refused what."""

from datetime import datetime
from uuid import UUID

from deadletters.models import DeskEntry


def note(
    *,
    by: str,
    action: str,
    subject: str,
    at: datetime,
    reason: str = "",
    detail: str = "",
    letters: int | None = None,
    refused: int | None = None,
    letter_id: UUID | None = None,
    job_id: UUID | None = None,
) -> DeskEntry:
    """Write down what was done, in the caller's transaction."""
    return DeskEntry.objects.create(
        at=at,
        by=by,
        action=action,
        outcome=DeskEntry.Outcome.DONE,
        subject=subject,
        reason=reason,
        detail=detail,
        letters=letters,
        refused=refused,
        letter_id=letter_id,
        job_id=job_id,
    )


def note_refusal(
    *,
    by: str,
    action: str,
    subject: str,
    at: datetime,
    why: str,
    reason: str = "",
    letter_id: UUID | None = None,
    job_id: UUID | None = None,
) -> DeskEntry:
    """Write down what somebody wanted and was not given. Not in a transaction that is about to be rolled back."""
    return DeskEntry.objects.create(
        at=at,
        by=by,
        action=action,
        outcome=DeskEntry.Outcome.REFUSED,
        subject=subject,
        reason=reason,
        detail=why,
        letter_id=letter_id,
        job_id=job_id,
    )
