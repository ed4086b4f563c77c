"""The desk's own door: whoever wants something of dead letters asks here, is permitted or refused, and written down."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import msgspec

from deadletters.filtering import LetterFilter
from deadletters.models import LetterJob
from deadletters.services import Outcome


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks. `may` answers for a permission of Django's, such as `deadletters.replay_deadletter`."""

    name: str
    may: Callable[[str], bool]


class Acted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it: done at once (`outcome`), or begun as a bulk job (`job_id`)."""

    outcome: Outcome | None = None
    job_id: UUID | None = None


def act(
    kind: LetterJob.Kind,
    chosen: LetterFilter,
    *,
    operator: Operator,
    reason: str,
    at: datetime,
    begins_at: datetime | None = None,
    rate: float | None = None,
) -> Acted:
    """Replay, discard or restore the letters that are meant."""
    raise NotImplementedError


def pause(job_id: UUID, *, operator: Operator, reason: str, at: datetime) -> None:
    raise NotImplementedError


def resume(job_id: UUID, *, operator: Operator, reason: str, at: datetime) -> None:
    raise NotImplementedError


def cancel(job_id: UUID, *, operator: Operator, reason: str, at: datetime) -> None:
    raise NotImplementedError
