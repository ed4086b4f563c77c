"""Beat names jobs: confirmed, to the declared queue, in the form that the operations worker lets in."""

from collections.abc import Iterator

import msgspec
import pytest
from celery import Celery
from celery.beat import SchedulingError
from kombu import Connection, Queue

from messaging import topology
from operations import jobs
from operations.beat import QUEUE, ConfirmingScheduler
from operations.pruning import Pruned


@pytest.fixture
def app() -> Celery:
    app = Celery("beat-of-a-test", set_as_current=False)
    app.conf.result_expires = None
    jobs.register(app)
    return app


@pytest.fixture
def scheduler(app: Celery, broker_url: str) -> ConfirmingScheduler:
    scheduler = ConfirmingScheduler(app)
    scheduler.update_from_dict(jobs.schedule())
    return scheduler


@pytest.fixture
def queue(broker_url: str) -> Iterator[Queue]:
    with Connection(broker_url, connect_timeout=5) as connection:
        queue = topology.queue_of(QUEUE)(connection.default_channel)
        queue.queue_declare()
        queue.purge()
        yield queue


@pytest.mark.parametrize("job", jobs.JOBS, ids=lambda job: job.task)
def test_a_job_is_sent_as_a_worker_lets_it_in(scheduler, app, queue, job):
    scheduler.apply_async(scheduler.schedule[job.task])

    message = queue.get(no_ack=True)
    assert msgspec.json.decode(message.body) == [[{}], {}, {}]
    assert message.content_type == "application/json"
    assert message.headers["task"] == job.task in app.tasks
    assert message.headers["id"] == message.properties["message_id"]
    assert message.headers["ignore_result"] is False
    never_sent = {"eta", "expires", "timelimit", "compression"}
    assert never_sent.isdisjoint(message.headers)


def test_a_job_that_no_queue_takes_is_an_error_and_not_lost_in_silence(scheduler, queue):
    queue.delete()

    with pytest.raises(SchedulingError, match="no queue takes it"):
        scheduler.apply_async(scheduler.schedule[jobs.JOBS[0].task])


def test_beat_names_our_jobs_and_none_of_its_own(scheduler):
    assert set(scheduler.schedule) == {job.task for job in jobs.JOBS}


def test_jobs_keep_their_failures_and_are_acknowledged_when_they_fail(app):
    for job in jobs.JOBS:
        task = app.tasks[job.task]
        assert task.store_errors_even_if_ignored is True
        assert task.acks_on_failure is task.acks_on_timeout is True


def test_of_jobs_that_are_done_several_times_an_hour_no_success_is_kept(app):
    for job in jobs.JOBS:
        is_often = len(job.due.minute) > 1
        assert app.tasks[job.task].ignore_result is is_often is not job.is_result_kept


def test_the_pruning_job_returns_what_it_did_as_json(app, monkeypatch):
    report = Pruned(
        pruned={"sessions": 3}, kept_keys={}, waiting=["orders"], is_complete=True, is_dry_run=False
    )
    monkeypatch.setattr(jobs, "prune", lambda: report)

    answer = app.tasks["operations.jobs.prune"]({})

    assert msgspec.json.decode(msgspec.json.encode(answer), type=Pruned) == report
