"""Jobs: what is done by the clock. Each may run twice, also at once; its result is in django-celery-results."""

from collections.abc import Callable
from typing import Any

import msgspec
from celery import Celery
from celery.schedules import crontab

from deadletters import tallies, unanswered
from deadletters.jobs import letter_jobs
from messaging.envelope import utc_now
from operations.pruning import prune


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """`run` takes nothing and returns JSON-compatible builtins.

    Of a job that is done every few minutes only failures are kept: nobody reads a thousand results a day.
    """

    task: str
    run: Callable[[], Any]
    due: crontab
    is_result_kept: bool = True


def prune_everything() -> Any:
    """Delete what is old enough and needed by nobody."""
    return msgspec.to_builtins(prune())


def wake_forgotten_letter_jobs() -> Any:
    """Wake bulk jobs on dead letters whose own message was lost from sight."""
    return msgspec.to_builtins(letter_jobs.wake_forgotten(at=utc_now()))


def send_unanswered_replays_again() -> Any:
    """Send messages of dead letters again whose replay nobody has answered for an hour."""
    return msgspec.to_builtins(unanswered.send_again(at=utc_now()))


def fold_letter_tallies() -> Any:
    """Add up the rows that count dead letters, so that figures stay quick."""
    return tallies.fold(now=utc_now())


JOBS = (
    Job(task="operations.jobs.prune", run=prune_everything, due=crontab(minute="17")),
    Job(
        task="operations.jobs.wake_forgotten_letter_jobs",
        run=wake_forgotten_letter_jobs,
        due=crontab(),
        is_result_kept=False,
    ),
    Job(
        task="operations.jobs.send_unanswered_replays_again",
        run=send_unanswered_replays_again,
        due=crontab(minute="*/10"),
        is_result_kept=False,
    ),
    Job(
        task="operations.jobs.fold_letter_tallies",
        run=fold_letter_tallies,
        due=crontab(),
        is_result_kept=False,
    ),
)


def schedule() -> dict[str, dict[str, Any]]:
    """What beat names, and when: by the clock, so that a restart of beat moves nothing."""
    return {job.task: {"task": job.task, "schedule": job.due} for job in JOBS}


def register(app: Celery) -> None:
    """Give the operations worker its jobs. One that fails is acknowledged: its result says so, and it is due again."""
    for job in JOBS:
        app.task(
            _taking_a_payload(job.run),
            name=job.task,
            shared=False,
            ignore_result=not job.is_result_kept,
            store_errors_even_if_ignored=True,
            acks_on_failure=True,
            acks_on_timeout=True,
        )


def _taking_a_payload(run: Callable[[], Any]) -> Callable[[Any], Any]:
    def job(payload: Any = None) -> Any:
        return run()

    return job
