"""The operators' log: who did what, when and why, and who was refused what."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from deadletters.models import DeskEntry


def entry(
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
    saga_id: UUID | None = None,
    outcome: DeskEntry.Outcome = DeskEntry.Outcome.DONE,
) -> DeskEntry:
    """An entry that is not written yet: of many, all are written at once."""
    return DeskEntry(
        at=at,
        by=by,
        action=action,
        outcome=outcome,
        subject=subject,
        reason=reason,
        detail=detail,
        letters=letters,
        refused=refused,
        letter_id=letter_id,
        job_id=job_id,
        saga_id=saga_id,
    )


def note(**entry_of: Any) -> DeskEntry:
    """Write down what was done, in the caller's transaction; takes what `entry` takes."""
    written = entry(**entry_of)
    written.save(force_insert=True)
    return written


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
    saga_id: UUID | None = None,
) -> DeskEntry:
    """Write down what somebody wanted and was not given; it is committed on return.

    Raises `RuntimeError` in a transaction: what the caller raises next would roll it back.
    """
    with transaction.atomic(using="default", durable=True):
        return note(
            outcome=DeskEntry.Outcome.REFUSED,
            by=by,
            action=action,
            subject=subject,
            at=at,
            detail=why,
            reason=reason,
            letter_id=letter_id,
            job_id=job_id,
            saga_id=saga_id,
        )
