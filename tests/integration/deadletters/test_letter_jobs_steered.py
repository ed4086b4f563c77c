"""Bulk jobs that are paused, resumed or cancelled, and those that were forgotten, are gone, or die themselves."""

from datetime import timedelta
from uuid import UUID

import msgspec
import pytest
from django_celery_results.models import TaskResult

from contracts.operations import AdvanceLetterJob
from deadletters import desk, services
from deadletters.collecting.reading import Received, read
from deadletters.errors import WrongMove
from deadletters.filtering import LetterFilter
from deadletters.jobs import letter_jobs
from deadletters.jobs.letter_job_progress import progress
from deadletters.models import DeadLetter, DeskEntry, LetterJob
from messaging.consumer import consume
from messaging.envelope import new_message_id, utc_now
from messaging.models import OutboxMessage
from tests.builders import a_delivery, an_envelope
from tests.integration.deadletters.causes import (
    ADA,
    Cause,
    sent,
    step,
    step_at,
    succeed,
    under_way,
    wake_up,
)
from tests.integration.deadletters.jobs_begun import begin, on_ramp, outgoing
from tests.integration.deadletters.true_counts import stored

pytestmark = pytest.mark.usefixtures("committed")
Kind = LetterJob.Kind


def test_a_job_that_has_stopped_takes_what_is_open_when_it_is_resumed_also_what_came_back_and_climbs_anew():
    cause = Cause()
    letters = cause.letters(12)
    job_id = begin(Kind.REPLAY, cause.filter)
    on_ramp(job_id, sizes=(1,))
    step(job_id)
    followers = [cause.fails_again(letter) for letter in under_way(job_id)]
    assert step(job_id).state == "stopped"

    desk.resume(job_id, operator=ADA, reason="now it is mended", at=utc_now())
    job = LetterJob.objects.get(id=job_id)
    assert (job.state, job.stage, job.total, job.stopped_because) == ("running", 0, 17, "")
    on_ramp(job_id, sizes=(1, 5, 5))
    job = step(job_id)

    assert (job.state, job.done) == ("finished", 17)
    assert sorted(replay.letter_id for replay in sent(job_id)) == sorted(
        letter.id for letter in (*letters, *followers)
    )
    told = progress(job)
    assert (told.succeeded, told.failed, told.percent) == (12, 5, 100)


def test_a_job_on_letters_that_were_named_takes_what_came_back_of_them_too_when_it_is_resumed():
    cause = Cause()
    letters = cause.letters(2)
    job_id = begin(Kind.REPLAY, LetterFilter(ids=tuple(letter.id for letter in letters)))
    step(job_id)
    follower = cause.fails_again(under_way(job_id)[0])
    assert step(job_id).state == "stopped"

    desk.resume(job_id, operator=ADA, reason="now it is mended", at=utc_now())
    on_ramp(job_id, sizes=(1, 1))

    assert step(job_id).state == "finished"
    assert follower.id in {replay.letter_id for replay in sent(job_id)}


def test_a_job_on_letters_of_a_time_takes_what_came_back_of_them_when_it_is_resumed():
    cause = Cause()
    letters = cause.letters(2)
    until = max(letter.died_at for letter in letters) + timedelta(microseconds=1)
    job_id = begin(Kind.REPLAY, LetterFilter(fingerprint=cause.fingerprint, until=until))
    step(job_id)
    follower = cause.fails_again(under_way(job_id)[0])
    (stranger,) = cause.letters(1)
    assert step(job_id).state == "stopped"

    desk.resume(job_id, operator=ADA, reason="now it is mended", at=utc_now())
    on_ramp(job_id, sizes=(1, 1))

    assert step(job_id).state == "finished"
    taken = {replay.letter_id for replay in sent(job_id)}
    assert follower.id in taken
    assert stranger.id not in taken


def test_a_paused_job_sends_nothing_until_it_is_resumed_and_a_cancelled_one_never():
    cause = Cause()
    letters = cause.letters(10)
    job_id = begin(Kind.REPLAY, cause.filter)
    on_ramp(job_id, sizes=(1,))

    desk.pause(job_id, operator=ADA, reason="lunch", at=utc_now())
    assert wake_up(job_id) is None
    assert step_at(job_id, utc_now()).done == 1
    desk.resume(job_id, operator=ADA, reason="back", at=utc_now())
    job = step(job_id)
    assert (job.stage, job.done) == (1, 6)
    desk.cancel(job_id, operator=ADA, reason="enough", at=utc_now())
    succeed(*under_way(job_id))
    step_at(job_id, utc_now())

    job = LetterJob.objects.get(id=job_id)
    assert (job.state, job.done) == ("cancelled", 6)
    assert job.finished_at is not None
    assert DeadLetter.objects.filter(group_id=cause.fingerprint, state="open").count() == 4
    assert not outgoing(*letters[6:])
    log = DeskEntry.objects.filter(job_id=job_id).order_by("id").values_list("action", "reason")
    assert list(log) == [
        ("replay", "mended"),
        ("pause", "lunch"),
        ("resume", "back"),
        ("cancel", "enough"),
    ]


def test_what_came_back_while_a_job_was_paused_stops_it_when_it_is_resumed():
    cause = Cause()
    cause.letters(10)
    job_id = begin(Kind.REPLAY, cause.filter)
    step(job_id)
    desk.pause(job_id, operator=ADA, reason="lunch", at=utc_now())
    cause.fails_again(under_way(job_id)[0])

    desk.resume(job_id, operator=ADA, reason="back", at=utc_now())
    job = step(job_id)

    assert (job.state, job.done) == ("stopped", 1)
    desk.resume(job_id, operator=ADA, reason="mended", at=utc_now())
    assert step(job_id).state == "running"


def test_a_job_moves_only_where_it_may():
    cause = Cause()
    cause.letters(2)
    job_id = begin(Kind.REPLAY, cause.filter)
    at = utc_now()

    with pytest.raises(WrongMove, match="is running; only one that is paused or stopped"):
        desk.resume(job_id, operator=ADA, reason="", at=at)
    desk.pause(job_id, operator=ADA, reason="", at=at)
    with pytest.raises(WrongMove, match="is paused"):
        desk.pause(job_id, operator=ADA, reason="", at=at)
    desk.cancel(job_id, operator=ADA, reason="", at=at)
    for move in (desk.pause, desk.resume, desk.cancel):
        with pytest.raises(WrongMove, match="is cancelled"):
            move(job_id, operator=ADA, reason="", at=at)
    assert DeskEntry.objects.filter(job_id=job_id).count() == 3, "what did not happen is not in the log"


def test_a_job_whose_message_was_lost_is_woken_and_one_that_is_cared_for_is_not():
    cause = Cause()
    cause.letters(3)
    job_id = begin(Kind.REPLAY, cause.filter)
    step(job_id)
    OutboxMessage.objects.using("default").filter(known_key=f"letter-job:{job_id}").delete()

    assert job_id not in letter_jobs.wake_forgotten(at=utc_now() + timedelta(seconds=100))
    assert wake_up(job_id) is None
    for _ in range(2):
        assert job_id in letter_jobs.wake_forgotten(at=utc_now() + timedelta(seconds=130))
    succeed(*under_way(job_id))
    assert step(job_id).done == 3

    desk.pause(job_id, operator=ADA, reason="", at=utc_now())
    assert job_id not in letter_jobs.wake_forgotten(at=utc_now() + timedelta(hours=1))


def test_a_job_whose_own_messages_die_again_and_again_stops_and_says_why():
    cause = Cause()
    cause.letters(3)
    job_id = begin(Kind.REPLAY, cause.filter)
    step(job_id)
    wake_up(job_id).delete()
    later = utc_now() + timedelta(minutes=3)
    own = []
    for _ in range(3):
        assert job_id in letter_jobs.wake_forgotten(at=later)
        own += [a_death_of_its_message(job_id)]

    assert job_id not in letter_jobs.wake_forgotten(at=later)

    job = LetterJob.objects.get(id=job_id)
    assert job.state == "stopped"
    assert f"3 have, the last as letter {own[-1]}: ValueError: no." in job.stopped_because
    assert wake_up(job_id) is None
    assert TaskResult.objects.get(task_id=str(job_id)).status == "FAILURE"
    desk.resume(job_id, operator=ADA, reason="mended", at=utc_now())
    succeed(*under_way(job_id))
    assert job_id in letter_jobs.wake_forgotten(at=utc_now() + timedelta(minutes=3))
    services.discard(own, by="ada", reason="a test", at=utc_now())


def a_death_of_its_message(job_id: UUID) -> UUID:
    message = AdvanceLetterJob(job_id=job_id)
    headers = msgspec.structs.replace(an_envelope(message), correlation_id=str(job_id)).to_headers()
    received = Received(
        service="operations", properties={"application_headers": headers}, body=b"[[{}], {}, {}]"
    )
    (letter_id,) = stored(read(received, letter_id=new_message_id(), now=utc_now()))
    return UUID(str(letter_id))


def test_a_job_that_is_gone_is_passed_over(caplog):
    consume("operations", a_delivery(AdvanceLetterJob(job_id=UUID(int=7))))

    assert "there is no bulk job" in caplog.text
