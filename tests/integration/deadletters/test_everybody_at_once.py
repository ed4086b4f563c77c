"""All who move letters, at once: operators, jobs, collectors, workers, pruning, folding. None ends in a deadlock."""

import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from threading import Event
from uuid import UUID, uuid4

import pytest
from django.db import connections, transaction

from contracts.operations import ReplaySucceeded
from deadletters import desk, services, tallies
from deadletters.collecting import storing
from deadletters.errors import WrongMove
from deadletters.filtering import LetterFilter
from deadletters.jobs import letter_jobs
from deadletters.models import DeadLetter, LetterAction, LetterJob, Replay
from deadletters.pruning import prune_closed
from deadletters.statements import answers
from messaging.consumer import consume
from messaging.envelope import utc_now
from messaging.models import OutboxMessage
from tests.at_once import at_once
from tests.builders import a_delivery
from tests.integration.deadletters.causes import ADA, Cause, step_at, succeed
from tests.integration.deadletters.true_counts import differences
from tests.running_shop import wait_until

pytestmark = pytest.mark.usefixtures("committed")
Kind = LetterJob.Kind
ROUNDS = 25
_WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
_RELAYED = """
DELETE FROM messaging_outboxmessage WHERE id IN (
    SELECT id FROM messaging_outboxmessage WHERE available_at <= now() AND known_key LIKE 'letter-job:%%'
    FOR UPDATE SKIP LOCKED)"""


def deadlocks() -> int:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def until_somebody_waits() -> None:
    """Return when another session waits for a lock."""

    def is_waiting() -> bool:
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(_WAITING)
            return bool(cursor.fetchone()[0])

    wait_until(is_waiting, what="somebody to wait for a lock")


class Somebody:
    """What may be done to the letters of one cause, to some of them by chance."""

    def __init__(self, seed: int, cause: Cause, fingerprint: str) -> None:
        self._choice = random.Random(seed)
        self._cause = cause
        self._fingerprint = fingerprint

    def acts_on_named_letters(self) -> None:
        chosen = LetterFilter(ids=tuple(self._some(40)))
        desk.act(
            self._choice.choice(list(Kind)), chosen, operator=ADA, reason="a test", at=utc_now(), rate=1e6
        )

    def replays(self) -> None:
        services.replay(self._some(20, state="open"), by="eve", reason="", at=utc_now())

    def brings_back(self) -> None:
        found = list(self._replays("open"))
        self._cause.fail_again(self._choice.sample(found, min(20, len(found))))

    def succeeds(self) -> None:
        found = list(self._replays("open", "failed"))
        for replay in self._choice.sample(found, min(5, len(found))):
            consume("operations", a_delivery(ReplaySucceeded(replay_id=replay.id, message_id=uuid4())))

    def begins_a_job(self) -> None:
        chosen = LetterFilter(fingerprint=self._fingerprint)
        desk.act(
            self._choice.choice(list(Kind)), chosen, operator=ADA, reason="a test", at=utc_now(), rate=1e6
        )

    def advances_jobs(self) -> None:
        for job in LetterJob.objects.filter(state="running").order_by("-id")[:4]:
            step_at(job.id, utc_now())

    def steers(self) -> None:
        for job in LetterJob.objects.filter(state__in=["running", "paused", "stopped"]).order_by("-id")[:4]:
            move = desk.pause if job.state == "running" else desk.resume
            try:
                move(job.id, operator=ADA, reason="", at=utc_now())
            except WrongMove:
                continue  # somebody else was quicker

    def wakes(self) -> None:
        letter_jobs.wake_forgotten(at=utc_now() + timedelta(hours=1))
        answers((_RELAYED, []))

    def prunes(self) -> None:
        with transaction.atomic():
            held = DeadLetter.objects.filter(id__in=self._some(20), closed_at__isnull=False)
            ids = list(held.order_by("id").select_for_update().values_list("id", flat=True))
            DeadLetter.objects.filter(id__in=ids).update(closed_at=utc_now() - timedelta(days=4_000))
        for _ in prune_closed(days=3_900, size=7):
            pass

    def folds(self) -> None:
        tallies.fold(now=utc_now())

    def looks(self) -> None:
        assert differences() == []

    def _some(self, count: int, **more: str) -> list[UUID]:
        found = DeadLetter.objects.filter(group_id=self._fingerprint, **more).values_list("id", flat=True)
        return self._choice.sample(list(found), min(count, len(found)))

    def _replays(self, *outcomes: str) -> Sequence[Replay]:
        return Replay.objects.filter(letter__group_id=self._fingerprint, outcome__in=outcomes).select_related(
            "letter"
        )[:200]


def test_whoever_moves_letters_at_once_nobody_waits_for_ever_and_sums_stay_true() -> None:
    cause = Cause()
    letters = cause.letters(300)
    before = deadlocks()

    def again(seed: int, what: Callable[[Somebody], None]) -> Callable[[], None]:
        def run() -> None:
            somebody = Somebody(seed, cause, letters[0].group_id)
            for _ in range(ROUNDS):
                what(somebody)

        return run

    doings = [
        *[Somebody.acts_on_named_letters] * 3,
        *[Somebody.replays] * 2,
        *[Somebody.brings_back] * 2,
        *[Somebody.advances_jobs] * 2,
        *[Somebody.wakes] * 2,
        *[Somebody.folds] * 2,
        *(Somebody.succeeds, Somebody.begins_a_job, Somebody.steers, Somebody.prunes, Somebody.looks),
    ]
    at_once(*(again(seed, what) for seed, what in enumerate(doings)))

    assert deadlocks() == before
    assert differences() == []
    for job in LetterJob.objects.filter(state__in=["running", "paused", "stopped"]):
        desk.cancel(job.id, operator=ADA, reason="the test is over", at=utc_now())


def test_a_success_that_comes_while_a_copy_of_the_replay_is_stored_closes_that_letter_too(monkeypatch):
    cause = Cause()
    (letter,) = cause.letters(1)
    services.replay([letter], by="ada", reason="", at=utc_now())
    replay = Replay.objects.get(letter=letter)
    monkeypatch.setattr(storing, "failpoint", lambda name: until_somebody_waits())

    def is_stored() -> bool:
        """Whether the collector has its hand on the letter; it has not committed then."""
        with connections["default"].cursor() as cursor:
            cursor.execute(
                "SELECT FROM deadletters_deadletter WHERE id = %s FOR UPDATE SKIP LOCKED", [letter.id]
            )
            return cursor.fetchone() is None

    def success_when_it_is_stored() -> None:
        wait_until(is_stored, what="the collector to store what came back")
        succeed(letter)

    came_back, _ = at_once(lambda: cause.fails_again(letter), success_when_it_is_stored)

    assert DeadLetter.objects.get(id=came_back.id).state == "resolved"
    assert DeadLetter.objects.get(id=letter.id).state == "superseded"
    assert Replay.objects.get(id=replay.id).outcome == "succeeded"


def test_a_letter_that_is_pruned_while_somebody_names_it_costs_the_others_nothing():
    cause = Cause()
    old, *others = cause.letters(4)
    services.discard([old], by="ada", reason="a test", at=utc_now())
    DeadLetter.objects.filter(id=old.id).update(closed_at=utc_now() - timedelta(days=4_000))
    named = LetterFilter(ids=tuple(letter.id for letter in (old, *others)))

    def prune() -> None:
        with transaction.atomic():
            assert sum(prune_closed(days=3_900, size=10)) >= 1
            held.set()
            until_somebody_waits()

    def act() -> desk.Acted:
        held.wait(timeout=60)
        return desk.act(Kind.REPLAY, named, operator=ADA, reason="", at=utc_now())

    held = Event()
    _, acted = at_once(prune, act)

    assert acted.job_id is not None
    assert not LetterAction.objects.filter(letter_id=old.id).exists()


def test_pruning_waits_for_nobody_and_leaves_what_a_letter_in_hand_follows():
    cause = Cause()
    first, other = cause.letters(2)
    services.replay([first], by="ada", reason="", at=utc_now())
    follower = cause.fails_again(first)
    services.discard([other], by="ada", reason="a test", at=utc_now())
    DeadLetter.objects.filter(id__in=[first.id, other.id]).update(closed_at=utc_now() - timedelta(days=5_000))

    with transaction.atomic():
        DeadLetter.objects.select_for_update().get(id=follower.id)
        at_once(lambda: list(prune_closed(days=4_900, size=10)))
        assert list(DeadLetter.objects.filter(id__in=[first.id, other.id])) == [first]
    at_once(lambda: list(prune_closed(days=4_900, size=10)))

    assert not DeadLetter.objects.filter(id=first.id).exists()
    assert DeadLetter.objects.get(id=follower.id).follows_id is None


def test_two_that_wake_forgotten_jobs_at_once_wake_each_once():
    cause = Cause()
    cause.letters(2)
    later = utc_now() + timedelta(days=1)
    ids = [
        desk.act(Kind.REPLAY, cause.filter, operator=ADA, reason="", at=utc_now(), begins_at=later).job_id
        for _ in range(30)
    ]
    before = deadlocks()

    at_once(*[lambda: [letter_jobs.wake_forgotten(at=later + timedelta(hours=1)) for _ in range(20)]] * 4)

    assert deadlocks() == before
    rows = OutboxMessage.objects.using("default").filter(
        known_key__in=[f"letter-job:{job_id}" for job_id in ids]
    )
    assert rows.count() == len(ids)
