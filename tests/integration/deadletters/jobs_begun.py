"""Bulk jobs that a test begins, and takes up their ramp."""

from uuid import UUID

from deadletters import desk
from deadletters.filtering import LetterFilter
from deadletters.models import DeadLetter, LetterJob
from messaging.envelope import utc_now
from messaging.models import OutboxMessage
from tests.integration.deadletters.causes import (
    ADA,
    step,
    succeed,
    under_way,
)

FAST = 1e6
"""Letters a second: as good as no limit."""


def begin(kind: LetterJob.Kind, chosen: LetterFilter, *, rate: float | None = FAST, **more) -> UUID:
    job_id = desk.act(kind, chosen, operator=ADA, reason="mended", at=utc_now(), rate=rate, **more).job_id
    assert job_id is not None
    return job_id


def outgoing(*letters: DeadLetter) -> list[OutboxMessage]:
    ids = [letter.message_id for letter in letters]
    return list(OutboxMessage.objects.using("default").filter(message_id__in=ids).order_by("available_at"))


def on_ramp(job_id: UUID, *, sizes: tuple[int, ...]) -> None:
    """Take the job through these stages, all of whose letters are handled."""
    for size in sizes:
        step(job_id)
        letters = under_way(job_id)
        assert len(letters) == size
        succeed(*letters)
