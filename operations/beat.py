"""Beat: names the jobs that are due, and does nothing else.

Celery's own scheduler in memory, so that there is no schedule file to keep or to lose: a job is due by the clock, not
by when it was last sent, and each is safe to run twice. What differs is how it sends: confirmed by the broker, to the
declared queue, in the form that a worker lets in, as everything is sent here.
"""

import sys
from typing import Any

from celery.beat import ScheduleEntry, Scheduler, SchedulingError
from django.conf import settings

from messaging.envelope import new_message_id
from messaging.publishing import Publisher, Wire

QUEUE = "operations"
PATIENCE = 10.0
"""Seconds that the broker may take to confirm."""


class ConfirmingScheduler(Scheduler):
    """`app.conf.beat_schedule`, sent with publisher confirms. It keeps no connection between two jobs."""

    producer = None

    def apply_async(self, entry: ScheduleEntry, producer: Any = None, advance: bool = True, **_: Any) -> None:
        """Send the entry's job; raises `SchedulingError` where the broker has not taken it. It will be due again."""
        due = self.reserve(entry) if advance else entry
        try:
            send_job(due.task, broker_url=settings.BROKER_URL)
        except Exception as error:
            raise SchedulingError(f"The job {due.name!r} was not sent: {error}").with_traceback(
                sys.exc_info()[2]
            ) from error


def send_job(task: str, *, broker_url: str) -> str:
    """Put the job into the operations queue and return its id; raises where the broker does not confirm it."""
    job_id = str(new_message_id())
    headers = {
        "id": job_id,
        "task": task,
        "lang": "py",
        "root_id": job_id,
        "parent_id": None,
        "argsrepr": "",
        "kwargsrepr": "",
        "ignore_result": False,
    }
    wire = Wire(
        tag=1,
        message_id=job_id,
        correlation_id=job_id,
        exchange="",
        routing_key=QUEUE,
        headers=headers,
        body="[[{}], {}, {}]",
    )
    publisher = Publisher(broker_url)
    try:
        publisher.connect()
        answers = publisher.publish([wire], wait=PATIENCE)
    finally:
        publisher.close()
    if not answers.confirmed:
        raise OSError(answers.refused.get(1) or f"no answer within {PATIENCE:g} s ({answers.failure})")
    return job_id
