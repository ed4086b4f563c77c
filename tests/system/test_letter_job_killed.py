"""A bulk replay in a running shop, whose worker is killed between any two writes: each letter is sent once."""

import json
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from django_celery_results.models import TaskResult

from contracts.sagas import NoteDiscardedLetter
from deadletters import desk
from deadletters.desk import Operator
from deadletters.failures import Failures
from deadletters.filtering import LetterFilter
from deadletters.models import DeadLetter, LetterAction, LetterJob, Replay
from deadletters.reading import Received, read
from deadletters.storing import store
from messaging.envelope import new_message_id, utc_now
from tests.builders import an_envelope
from tests.running_shop import RunningShop, wait_until

POINTS = ("consumer.claimed", "consumer.handled", "consumer.flushed", "consumer.committed")
ADA = Operator(name="ada", may=lambda permission: True)
LETTERS = 60


@pytest.fixture
def armed(shop: RunningShop) -> Iterator[RunningShop]:
    yield shop
    shop.disarm()


def letters_of_nobody(count: int) -> LetterFilter:
    """Letters for the orchestrator, which passes over sagas that it does not know and comes by none of the points: so
    those who come by them are the operators' worker alone."""
    ids = []
    for _ in range(count):
        note = NoteDiscardedLetter(
            saga_id=uuid4(), step="reserve", step_try=1, is_compensation=False, letter_id=uuid4()
        )
        received = Received(
            service="sagas",
            properties={"application_headers": an_envelope(note, occurred_at=utc_now()).to_headers()},
            body=json.dumps([[note.to_payload()], {}, {}]).encode(),
        )
        letter = read(received, letter_id=new_message_id(), now=utc_now())
        ids += store([letter], failures=Failures()).letters
    return LetterFilter(ids=tuple(ids))


def state_of(job_id: UUID) -> str:
    return LetterJob.objects.get(id=job_id).state


def test_a_job_whose_worker_is_killed_at_every_write_replays_each_letter_once(armed: RunningShop) -> None:
    shop = armed
    chosen = letters_of_nobody(LETTERS)
    kills = 0
    for point in POINTS:
        shop.arm(point)
    job_id = desk.act(
        LetterJob.Kind.REPLAY, chosen, operator=ADA, reason="mended", at=utc_now(), rate=1000
    ).job_id
    assert job_id is not None

    def all_reached_or_finished() -> bool:
        return all(map(shop.was_reached, POINTS)) or state_of(job_id) == "finished"

    while state_of(job_id) != "finished":
        wait_until(all_reached_or_finished, what=f"the worker to be killed at {POINTS}")
        if state_of(job_id) != "finished":
            kills += len(POINTS)
            shop.disarm()
            for point in POINTS:
                shop.arm(point)

    assert kills >= len(POINTS)
    job = LetterJob.objects.get(id=job_id)
    assert (job.done, job.refused, job.total) == (LETTERS, 0, LETTERS)
    replays = Replay.objects.filter(letter_id__in=chosen.ids)
    assert replays.count() == LETTERS
    assert set(replays.values_list("outcome", "job_id")) == {("succeeded", job_id)}
    assert LetterAction.objects.filter(letter_id__in=chosen.ids, kind="replayed").count() == LETTERS
    assert set(DeadLetter.objects.filter(id__in=chosen.ids).values_list("state", flat=True)) == {"resolved"}
    assert TaskResult.objects.get(task_id=str(job_id)).status == "SUCCESS"
