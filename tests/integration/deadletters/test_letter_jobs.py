"""Bulk jobs step by step: the ramp, the rate, and what stops them. Nothing is sent twice."""

from datetime import timedelta
from itertools import pairwise
from uuid import UUID

import msgspec
import pytest
from celery.result import AsyncResult
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django_celery_results.models import TaskResult

from deadletters import desk, services
from deadletters.errors import JobEnded
from deadletters.jobs import letter_jobs
from deadletters.jobs.letter_job_progress import progress
from deadletters.models import DeadLetter, LetterAction, LetterJob, LetterTally, Replay
from messaging.envelope import utc_now
from project.celery import app
from tests.at_once import at_once
from tests.integration.deadletters.causes import (
    ADA,
    Cause,
    sent,
    step,
    step_at,
    steps_until,
    succeed,
    under_way,
    wake_up,
)
from tests.integration.deadletters.jobs_begun import begin, on_ramp, outgoing

pytestmark = pytest.mark.usefixtures("committed")
Kind = LetterJob.Kind


def test_a_replay_sends_one_letter_then_five_then_twenty_then_all():
    cause = Cause()
    letters = cause.letters(60)
    job_id = begin(Kind.REPLAY, cause.filter)

    for stage, size in enumerate((1, 5, 20, 34)):
        job = step(job_id)
        taken = under_way(job_id)
        assert (job.state, job.stage, len(taken)) == ("running", stage, size)
        assert step(job_id).done == job.done, "nothing more goes while outcomes are awaited"
        succeed(*taken[1:])
        if size > 1:
            assert step(job_id).done == job.done, "one is still under way"
        succeed(*taken[:1])
    job = step(job_id)

    assert (job.state, job.total, job.done, job.refused) == ("finished", 60, 60, 0)
    assert [replay.letter_id for replay in sent(job_id)] == [letter.id for letter in letters]
    assert set(DeadLetter.objects.filter(group_id=cause.fingerprint).values_list("state", flat=True)) == {
        "resolved"
    }
    assert wake_up(job_id) is None


def test_a_job_stops_after_the_first_letter_that_comes_back_and_sends_nothing_more():
    cause = Cause()
    cause.letters(30)
    job_id = begin(Kind.REPLAY, cause.filter)
    step(job_id)
    (first,) = under_way(job_id)
    follower = cause.fails_again(first)

    job = step(job_id)

    assert job.state == "stopped"
    for named in (follower.id, cause.exception.split(":")[0], cause.fingerprint, "the same failure"):
        assert str(named) in job.stopped_because
    assert len(sent(job_id)) == 1
    assert wake_up(job_id) is None
    step_at(job_id, utc_now() + timedelta(hours=1))
    assert len(sent(job_id)) == 1


def test_on_the_ramp_another_failure_stops_a_job_too_and_behind_it_only_the_same_one():
    cause = Cause()
    cause.letters(40)
    job_id = begin(Kind.REPLAY, cause.filter)
    on_ramp(job_id, sizes=(1,))
    step(job_id)
    other = Cause()
    other.fails_again(under_way(job_id)[3])
    job = step(job_id)
    assert job.state == "stopped"
    assert f"another failure: {other.exception.split(':')[0]} (" in job.stopped_because

    desk.resume(job_id, operator=ADA, reason="that is mended too", at=utc_now())
    succeed(*under_way(job_id))
    on_ramp(job_id, sizes=(1, 5, 20))
    step(job_id)
    other.fails_again(under_way(job_id)[0])
    assert step(job_id).state == "running"
    cause.fails_again(under_way(job_id)[0])
    job = step(job_id)
    assert job.state == "stopped"
    assert f"the same failure: {cause.exception.split(':')[0]} (" in job.stopped_because


def test_the_rate_is_kept_from_letter_to_letter_and_from_step_to_step(settings):
    settings.REPLAY_RAMP = (3,)
    cause = Cause()
    letters = cause.letters(100)
    job_id = begin(Kind.REPLAY, cause.filter, rate=10)
    at = utc_now()
    step_at(job_id, at)
    succeed(*under_way(job_id))

    # As early as steps may come: at once.
    job = LetterJob.objects.get(id=job_id)
    while not job.is_exhausted:
        at += timedelta(seconds=1)
        job = step_at(job_id, at)
        succeed(*under_way(job_id))

    due = [row.available_at for row in outgoing(*letters)]
    assert len(due) == 100
    apart = [(later - one).total_seconds() for one, later in pairwise(due)]
    assert min(apart) >= 0.0999
    assert (due[-1] - due[0]).total_seconds() == pytest.approx(9.9, abs=1.1)
    assert due == [replay.available_at for replay in sent(job_id)]


def test_no_more_letters_are_under_way_than_a_job_may_have_open(settings):
    settings.REPLAY_RAMP = ()
    cause = Cause()
    cause.letters(130)
    job_id = begin(Kind.REPLAY, cause.filter, rate=5)
    at = utc_now()

    for _ in range(12):
        at += timedelta(seconds=5)
        job = step_at(job_id, at)

    assert job.done == 100
    assert wake_up(job_id).available_at == at + timedelta(seconds=5)


def test_a_job_begins_at_its_time_and_not_before():
    cause = Cause()
    cause.letters(2)
    tomorrow = utc_now() + timedelta(days=40)
    job_id = begin(Kind.REPLAY, cause.filter, begins_at=tomorrow)

    # A message that waited for weeks would be too old to be run: it is sent anew once a day.
    assert wake_up(job_id).available_at <= utc_now() + timedelta(days=1)
    job = step(job_id)
    assert (job.done, job.total) == (0, None)
    assert "It begins at" in progress(job).sentence
    assert wake_up(job_id) is not None
    assert step_at(job_id, tomorrow).done == 1


def test_only_letters_that_were_there_when_the_job_was_requested_are_taken():
    cause = Cause()
    letters = cause.letters(3)
    job_id = begin(Kind.REPLAY, cause.filter)
    cause.letters(5)

    job = steps_until(job_id, lambda job: bool(succeed(*under_way(job_id))) or job.state == "finished")

    assert (job.total, job.done) == (3, 3)
    assert [replay.letter_id for replay in sent(job_id)] == [letter.id for letter in letters]


def test_letters_that_cannot_be_sent_are_counted_and_told_each_and_the_ramp_waits_for_real_ones():
    cause = Cause()
    broken = cause.letters(3, body=b"no JSON")
    whole = cause.letters(1)
    job_id = begin(Kind.REPLAY, cause.filter)

    job = steps_until(job_id, lambda job: job.done == 1)
    assert (job.stage, job.refused) == (0, 3)
    succeed(*whole)
    job = step(job_id)

    assert (job.state, job.total, job.done, job.refused) == ("finished", 4, 1, 3)
    for letter in broken:
        action = LetterAction.objects.get(letter=letter)
        assert (action.kind, action.by, action.reason) == ("refused", "ada", "mended")
        assert "its body is not JSON" in action.refusal
    assert progress(job).sentence.startswith(
        "1 of 4 letters sent again: 1 handled, 0 under way, 0 came back; 3 refused."
    )


@pytest.mark.parametrize("kind", ["discard", "restore"])
def test_letters_are_discarded_and_restored_in_chunks_without_a_ramp(kind, monkeypatch):
    monkeypatch.setattr(letter_jobs.plan, "CHUNK", 20)
    monkeypatch.setitem(desk.MOST_AT_ONCE, Kind(kind), 5)
    cause = Cause()
    letters = cause.letters(50)
    if kind == "restore":
        services.discard(letters, by="ada", reason="by mistake", at=utc_now())
    job_id = begin(Kind(kind), cause.filter)

    counts = []
    job = LetterJob.objects.get(id=job_id)
    while job.state == "running":
        assert wake_up(job_id).available_at <= utc_now()
        job = step(job_id)
        counts.append(job.done)

    assert counts == [20, 40, 50]
    state, action = {"discard": ("discarded", "discarded"), "restore": ("open", "restored")}[kind]
    assert DeadLetter.objects.filter(group_id=cause.fingerprint, state=state).count() == 50
    assert LetterAction.objects.filter(letter__in=letters, kind=action, reason="mended").count() == 50
    assert progress(job).percent == 100


def test_two_operators_who_replay_a_group_at_once_send_each_message_once():
    cause = Cause()
    letters = cause.letters(80)
    first, second = at_once(*[lambda: begin(Kind.REPLAY, cause.filter)] * 2)

    def run(job_id: UUID) -> LetterJob:
        return steps_until(
            job_id,
            lambda job: bool(succeed(*under_way(job_id))) or job.state == "finished",
            most=200,
        )

    jobs = at_once(lambda: run(first), lambda: run(second))

    assert [job.state for job in jobs] == ["finished", "finished"]
    assert sum(job.done for job in jobs) == 80
    assert Replay.objects.filter(letter__in=letters).count() == 80
    assert len(outgoing(*letters)) == 80
    assert LetterAction.objects.filter(letter__in=letters, kind="replayed").count() == 80
    assert set(DeadLetter.objects.filter(group_id=cause.fingerprint).values_list("state", flat=True)) == {
        "resolved"
    }


def test_the_same_step_at_once_is_one_step():
    cause = Cause()
    cause.letters(40)
    job_id = begin(Kind.REPLAY, cause.filter)

    at_once(*[lambda: step_at(job_id, utc_now())] * 4)

    assert len(sent(job_id)) == 1


def test_outcomes_bring_the_next_step_forward():
    cause = Cause()
    cause.letters(30)
    job_id = begin(Kind.REPLAY, cause.filter)
    step(job_id)
    assert wake_up(job_id).available_at > utc_now() + timedelta(seconds=3), "it looks by itself after a while"
    succeed(*under_way(job_id))
    assert wake_up(job_id).available_at <= utc_now()

    step(job_id)
    letters = under_way(job_id)
    succeed(*letters[1:])
    assert wake_up(job_id).available_at > utc_now(), "one is still awaited"
    cause.fails_again(letters[0])
    assert wake_up(job_id).available_at <= utc_now()


def test_a_letter_that_comes_back_wakes_the_job_though_others_are_under_way():
    cause = Cause()
    cause.letters(30)
    job_id = begin(Kind.REPLAY, cause.filter)
    on_ramp(job_id, sizes=(1,))
    step(job_id)

    cause.fails_again(under_way(job_id)[0])

    assert wake_up(job_id).available_at <= utc_now()
    assert step(job_id).state == "stopped"


def test_the_figures_of_the_group_agree_after_letters_came_back():
    cause = Cause()
    cause.letters(4)
    job_id = begin(Kind.REPLAY, cause.filter)
    step(job_id)
    cause.fails_again(under_way(job_id)[0])

    tallied: dict[str, int] = {}
    for state, letters in LetterTally.objects.filter(fingerprint=cause.fingerprint).values_list(
        "state", "letters"
    ):
        tallied[state] = tallied.get(state, 0) + letters
    assert {state: count for state, count in tallied.items() if count} == {"open": 4, "superseded": 1}


def test_celerys_result_is_kept_in_step_with_the_job():
    cause = Cause()
    cause.letters(8)
    job_id = begin(Kind.REPLAY, cause.filter)
    result = AsyncResult(str(job_id), app=app)

    def told() -> dict[str, object]:
        return msgspec.json.decode(TaskResult.objects.get(task_id=str(job_id)).result)

    assert (result.status, told()["total"]) == ("PENDING", None)
    step(job_id)
    assert AsyncResult(str(job_id), app=app).status == "PROGRESS"
    assert AsyncResult(str(job_id), app=app).result["open"] == 1
    assert told()["sentence"] == (
        "1 of 8 letters sent again: 0 handled, 1 under way, 0 came back. Stage 1 of the ramp: 1 of 1 letters."
    )
    cause.fails_again(under_way(job_id)[0])
    step(job_id)
    stopped = AsyncResult(str(job_id), app=app)
    assert stopped.status == "FAILURE"
    assert isinstance(stopped.result, JobEnded)
    assert "came back from its replay with the same failure" in str(stopped.result)
    desk.resume(job_id, operator=ADA, reason="", at=utc_now())
    assert AsyncResult(str(job_id), app=app).status == "PROGRESS"
    desk.cancel(job_id, operator=ADA, reason="", at=utc_now())
    row = TaskResult.objects.get(task_id=str(job_id))
    assert (row.status, row.task_name) == ("REVOKED", "operations.letter_job")
    assert {name: told()[name] for name in ("done", "refused", "succeeded", "failed", "total", "stage")} == {
        "done": 1,
        "refused": 0,
        "succeeded": 0,
        "failed": 1,
        "total": 9,  # the one that came back is one of those to be sent
        "stage": 0,
    }


def test_a_finished_job_is_a_success_to_celery():
    cause = Cause()
    cause.letters(2)
    job_id = begin(Kind.REPLAY, cause.filter)
    on_ramp(job_id, sizes=(1, 1))
    step(job_id)

    result = AsyncResult(str(job_id), app=app)
    assert result.status == "SUCCESS"
    assert (result.result["succeeded"], result.result["percent"]) == (2, 100)
    assert result.result["sentence"].endswith("It is finished.")


def test_a_step_takes_as_many_statements_for_many_letters_as_for_one(settings):
    settings.REPLAY_RAMP = ()
    counts = []
    for letters in (2, 300):
        cause = Cause()
        cause.letters(letters)
        job_id = begin(Kind.REPLAY, cause.filter)
        with CaptureQueriesContext(connections["default"]) as captured:
            assert step_at(job_id, utc_now()).done == letters
        counts.append(len(captured))

    # BEGIN, the job, its total, outcomes, which letters, lock, replays, the job, its result, outbox, COMMIT; and a look
    assert counts == [12, 12]


def test_a_clock_that_is_put_back_holds_a_job_up_for_seconds_only(settings):
    settings.REPLAY_RAMP = ()
    cause = Cause()
    cause.letters(60)
    job_id = begin(Kind.REPLAY, cause.filter, rate=10)
    job = LetterJob.objects.get(id=job_id)
    LetterJob.objects.filter(id=job_id).update(begins_at=job.begins_at - timedelta(days=1))
    assert step_at(job_id, utc_now()).done == 50
    put_back = utc_now() - timedelta(hours=1)

    step_at(job_id, put_back)
    job = step_at(job_id, put_back + timedelta(seconds=5))

    assert job.done == 60
