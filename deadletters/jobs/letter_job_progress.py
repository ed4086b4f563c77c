"""How far a bulk job is: for its page, and for Celery's results, which are kept in step with it."""

from datetime import datetime
from typing import Any

import msgspec

from deadletters.errors import JobEnded
from deadletters.jobs import letter_job_statements
from deadletters.jobs.letter_job_plan import CameBack
from deadletters.models import LetterJob
from deadletters.statements import answers

TASK = "operations.letter_job"
"""The name under which Celery's results and Flower show bulk jobs."""
_PAST = {"replay": "sent again", "discard": "discarded", "restore": "open again"}
_STATUS = {
    LetterJob.State.RUNNING: "PROGRESS",
    LetterJob.State.PAUSED: "PROGRESS",
    LetterJob.State.STOPPED: "FAILURE",
    LetterJob.State.CANCELLED: "REVOKED",
    LetterJob.State.FINISHED: "SUCCESS",
}
_WITH_ERROR = ("FAILURE", "REVOKED")
"""Statuses whose result Celery reads as an exception."""


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of a job's replays: how many are open, how many failed, and a letter that came back."""

    open: int = 0
    failed: int = 0
    came_back: CameBack | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Letters of a job. `done` were sent, discarded or restored, `refused` could not be; of those sent `open` are under
    way, `succeeded` were handled and `failed` came back. `total` is None before the first step.

    `stage` counts from 0 and is `len(stages)` when the ramp is behind; `percent` is of what is concluded.
    """

    done: int
    refused: int
    open: int
    succeeded: int
    failed: int
    total: int | None
    stage: int
    stages: list[int]
    percent: int
    sentence: str


def outcomes_of(job: LetterJob) -> Outcomes:
    """One statement for a replay job, none for the others, which have nothing to wait for."""
    if job.kind != LetterJob.Kind.REPLAY:
        return Outcomes()
    ((open_replays, failed, letter_id, fingerprint, problem, is_same),) = answers(
        letter_job_statements.outcomes(job.id, since=job.resumed_at)
    )
    came_back = None
    if letter_id is not None:
        came_back = CameBack(
            letter_id=letter_id,
            fingerprint=fingerprint,
            problem=problem or "no reason given",
            is_same=is_same,
        )
    return Outcomes(open=open_replays, failed=failed, came_back=came_back)


def progress(job: LetterJob) -> Progress:
    """How far the job is now, in one statement."""
    return progress_with(job, outcomes_of(job))


def progress_with(job: LetterJob, outcomes: Outcomes) -> Progress:
    """How far the job is, where the outcomes are known."""
    is_replay = job.kind == LetterJob.Kind.REPLAY
    succeeded = max(0, job.done - outcomes.open - outcomes.failed) if is_replay else 0
    concluded = job.refused + (job.done - outcomes.open if is_replay else job.done)
    return Progress(
        done=job.done,
        refused=job.refused,
        open=outcomes.open,
        succeeded=succeeded,
        failed=outcomes.failed,
        total=job.total,
        stage=job.stage,
        stages=list(job.ramp),
        percent=_percent(job, concluded),
        sentence=_sentence(job, outcomes, succeeded=succeeded),
    )


def keep_result(job: LetterJob, told: Progress, *, at: datetime) -> None:
    """Let django-celery-results say of the job what is so now, in the caller's transaction.

    `AsyncResult(job.id)` then has the status and this progress; of one that has stopped or was cancelled a `JobEnded`.
    """
    status = "PENDING" if job.state == LetterJob.State.RUNNING and job.total is None else _STATUS[_state(job)]
    result: dict[str, Any] = {
        "done": told.done,
        "refused": told.refused,
        "open": told.open,
        "succeeded": told.succeeded,
        "failed": told.failed,
        "total": told.total,
        "stage": told.stage,
        "percent": told.percent,
        "sentence": told.sentence,
    }
    if status in _WITH_ERROR:
        result |= {
            "exc_type": JobEnded.__name__,
            "exc_module": JobEnded.__module__,
            "exc_message": [told.sentence],
        }
    answers(letter_job_statements.keep_result(job.id, task=TASK, status=status, result=result, at=at))


def _percent(job: LetterJob, concluded: int) -> int:
    if job.state == LetterJob.State.FINISHED:
        return 100
    # Others may have taken letters meanwhile, so that fewer are left than were counted; and nothing is over at 99.
    return min(99, 100 * concluded // job.total) if job.total else 0


def _sentence(job: LetterJob, outcomes: Outcomes, *, succeeded: int) -> str:
    if job.state == LetterJob.State.RUNNING and job.total is None:
        return f"It begins at {job.begins_at:%Y-%m-%d %H:%M:%S} UTC."
    said = f"{job.done} of {job.total or 0} letters {_PAST[job.kind]}"
    if job.kind == LetterJob.Kind.REPLAY and job.done:
        said += f": {succeeded} handled, {outcomes.open} under way, {outcomes.failed} came back"
    said += f"; {job.refused} refused." if job.refused else "."
    return f"{said} {_state_in_words(job)}".strip()


def _state_in_words(job: LetterJob) -> str:
    match _state(job):
        case LetterJob.State.PAUSED:
            return "It is paused."
        case LetterJob.State.CANCELLED:
            return "It was cancelled; what was sent before goes on."
        case LetterJob.State.STOPPED:
            return f"It has stopped by itself. {job.stopped_because}"
        case LetterJob.State.FINISHED:
            return "It is finished."
    if job.kind != LetterJob.Kind.REPLAY:
        return ""
    if job.is_exhausted:
        return "The last outcomes are awaited."
    if job.stage < len(job.ramp):
        return f"Stage {job.stage + 1} of the ramp: {job.stage_done} of {job.ramp[job.stage]} letters."
    return f"The ramp is behind: at most {job.rate:g} letters a second."


def _state(job: LetterJob) -> LetterJob.State:
    return LetterJob.State(job.state)
