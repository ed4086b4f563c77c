"""Jobs: what is done by the clock. Each may run twice, also at once; its result is in django-celery-results."""

from collections.abc import Callable
from typing import Any

import msgspec
from celery import Celery
from celery.schedules import crontab

from operations.pruning import prune


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """`run` takes nothing and returns JSON-compatible builtins."""

    task: str
    run: Callable[[], Any]
    due: crontab


def prune_everything() -> Any:
    """Delete what is old enough and needed by nobody."""
    return msgspec.to_builtins(prune())


JOBS = (Job(task="operations.jobs.prune", run=prune_everything, due=crontab(minute="17")),)


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
            ignore_result=False,
            acks_on_failure=True,
            acks_on_timeout=True,
        )


def _taking_a_payload(run: Callable[[], Any]) -> Callable[[Any], Any]:
    def job(payload: Any = None) -> Any:
        return run()

    return job
