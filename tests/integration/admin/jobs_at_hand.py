"""Bulk jobs in every state, and letters that came back from one, as the operators' worker leaves them behind."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from deadletters.models import DeadLetter, LetterJob, Replay
from tests.integration.admin.records import NOON, record_letter


def record_job(**more: Any) -> LetterJob:
    """A bulk replay of thirty letters, six of which were sent."""
    fields: dict[str, Any] = {
        "id": uuid4(),
        "kind": "replay",
        "state": "running",
        "filter": {"service": "billing"},
        "description": "letters of billing",
        "requested_by": "ada",
        "requested_at": NOON,
        "collected_until": NOON,
        "reason": "the gateway is back",
        "begins_at": NOON,
        "ramp": [1, 5],
        "rate": 50.0,
        "total": 30,
        "stage": 1,
        "stage_done": 5,
        "done": 6,
        "advanced_at": NOON,
    }
    if more.get("state") in ("cancelled", "finished"):
        fields["finished_at"] = NOON
    if more.get("state") == "stopped":
        fields["stopped_because"] = "A letter came back with the same failure."
    return LetterJob.objects.create(**{**fields, **more})


def came_back(job: LetterJob, **more: Any) -> DeadLetter:
    """A letter of the job whose replay has failed, and the letter that came in its place."""
    first = record_letter(service="billing", state="superseded", closed_at=NOON)
    replay = replayed(job, first, outcome="failed", finished_at=NOON)
    return record_letter(service="billing", replay_id=replay.id, follows=first, **more)


def replayed(job: LetterJob, letter: DeadLetter, **more: Any) -> Replay:
    return Replay.objects.create(
        id=uuid4(),
        letter=letter,
        job=job,
        requested_by=job.requested_by,
        requested_at=NOON,
        available_at=NOON + timedelta(seconds=1),
        **more,
    )
