"""A bulk replay in a running shop, whose worker is killed between any two writes: each letter is sent once."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django_celery_results.models import TaskResult

from contracts.sagas import CheckDeadlines
from deadletters import desk
from deadletters.collecting.failures import Failures
from deadletters.collecting.reading import Received, read
from deadletters.collecting.storing import store
from deadletters.desk import Operator
from deadletters.filtering import LetterFilter
from deadletters.models import DeadLetter, LetterAction, LetterJob, Replay
from messaging.envelope import new_message_id, utc_now
from sagas.models import SagaRecord
from tests.builders import an_envelope
from tests.running_shop import RunningShop, wait_until

POINTS = ("consumer.claimed", "consumer.handled", "consumer.flushed", "consumer.committed")
ADA = Operator(name="ada", may=lambda permission: True)
LETTERS = 24
RAMP = (1, 5)


@pytest.fixture
def armed(shop: RunningShop) -> Iterator[RunningShop]:
    yield shop
    shop.disarm()


def letters_of(saga_id: UUID) -> LetterFilter:
    """Letters for the orchestrator, which has nothing to do for a finished saga and comes by none of the points: so
    those who come by them are the children of the operators' worker alone."""
    ids = []
    for _ in range(LETTERS):
        message = CheckDeadlines(saga_id=saga_id)
        received = Received(
            service="sagas",
            properties={"application_headers": an_envelope(message, occurred_at=utc_now()).to_headers()},
            body=json.dumps([[message.to_payload()], {}, {}]).encode(),
        )
        letter = read(received, letter_id=new_message_id(), now=utc_now())
        ids += store([letter], failures=Failures()).letters
    return LetterFilter(ids=tuple(ids))


def test_a_job_whose_worker_is_killed_at_every_write_replays_each_letter_once(
    armed: RunningShop, settings: Any
) -> None:
    settings.REPLAY_RAMP = RAMP
    shop = armed
    order = shop.place_order()
    shop.settle(order)
    saga = SagaRecord.objects.filter(business_key=str(order.id), finished_at__isnull=False)
    chosen = letters_of(wait_until(saga.first, what="the saga to be finished").id)
    job_id = None

    def job() -> LetterJob:
        return LetterJob.objects.get(id=job_id)

    def has_come_to(stage: int) -> bool:
        now = job()
        assert now.state in ("running", "finished"), now.stopped_because
        return now.state == "finished" or (now.stage >= stage and all(map(shop.was_reached, POINTS)))

    for stage in range(len(RAMP) + 1):
        shop.disarm()
        for point in POINTS:
            shop.arm(point)
        if job_id is None:
            job_id = desk.act(
                LetterJob.Kind.REPLAY, chosen, operator=ADA, reason="mended", at=utc_now(), rate=1000
            ).job_id
        wait_until(partial(has_come_to, stage + 1), what=f"stage {stage} to end, and its kills at {POINTS}")
        assert stage == len(RAMP) or all(map(shop.was_reached, POINTS))
    wait_until(lambda: job().state == "finished", what=f"the job to be finished (see {shop.log_file})")

    finished = job()
    assert (finished.done, finished.refused, finished.total) == (LETTERS, 0, LETTERS)
    replays = Replay.objects.filter(letter_id__in=chosen.ids)
    assert replays.count() == LETTERS
    assert set(replays.values_list("outcome", "job_id")) == {("succeeded", job_id)}
    assert LetterAction.objects.filter(letter_id__in=chosen.ids, kind="replayed").count() == LETTERS
    assert set(DeadLetter.objects.filter(id__in=chosen.ids).values_list("state", flat=True)) == {"resolved"}
    assert TaskResult.objects.get(task_id=str(job_id)).status == "SUCCESS"
