"""Closed letters go with their log when they are old; the keys of those that may be replayed stay."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from deadletters.models import DeadLetter, LetterAction, LetterEdit, LetterJob, Replay
from deadletters.pruning import needed_keys, prune_closed
from operations.pruning import aged_tables, prune_aged
from tests.integration.admin.records import record_letter

pytestmark = pytest.mark.django_db


def test_letters_closed_for_long_go_with_their_log_and_the_others_stay():
    now = timezone.now()
    old, young = now - timedelta(days=91), now - timedelta(days=89)
    gone = record_letter(state="superseded", closed_at=old)
    Replay.objects.create(
        id=uuid4(), letter=gone, outcome="failed", requested_at=old, finished_at=old, available_at=old
    )
    follower = record_letter(follows=gone)
    kept = [follower, record_letter(state="resolved", closed_at=young)]
    would = sum(prune_closed(days=90, size=10, is_dry_run=True))

    assert sum(prune_closed(days=90, size=10)) == would >= 1

    assert not DeadLetter.objects.filter(id=gone.id).exists()
    assert not LetterAction.objects.filter(letter_id=gone.id).exists()
    assert DeadLetter.objects.filter(id__in=[letter.id for letter in kept]).count() == 2
    assert DeadLetter.objects.get(id=follower.id).follows_id is None


def test_a_letter_goes_with_its_edits():
    old = timezone.now() - timedelta(days=91)
    letter = record_letter(state="discarded", closed_at=old)
    LetterEdit.objects.create(
        id=uuid4(),
        letter=letter,
        state="declined",
        before={},
        after={},
        message_id=uuid4(),
        proposed_by="ada",
        proposed_at=old,
        reason="a wrong address",
        decided_at=old,
    )

    assert sum(prune_closed(days=90, size=10)) >= 1

    assert not LetterEdit.objects.filter(letter_id=letter.id).exists()


def test_a_finished_job_stays_as_long_as_a_replay_is_its():
    old = timezone.now() - timedelta(days=91)
    jobs = [
        LetterJob.objects.create(
            id=uuid4(),
            kind="replay",
            state="finished",
            filter={},
            requested_at=old,
            collected_until=old,
            begins_at=old,
            ramp=[],
            rate=1,
            finished_at=old,
        )
        for _ in range(2)
    ]
    still_open = record_letter()
    Replay.objects.create(
        id=uuid4(), letter=still_open, requested_at=old, available_at=old, job=jobs[0], outcome="open"
    )
    (aged,) = [aged for aged in aged_tables() if aged.table == "deadletters_letterjob"]

    sum(prune_aged(aged, is_dry_run=False))

    ids = [job.id for job in jobs]
    assert list(LetterJob.objects.filter(id__in=ids).values_list("id", flat=True)) == ids[:1]


NOW = timezone.now()
AGO = NOW - timedelta(days=30)


@pytest.mark.parametrize(
    ("state", "closed_at", "is_needed"),
    [
        ("open", None, True),
        ("replaying", None, True),
        ("discarded", AGO, True),
        ("resolved", AGO, False),
        ("resolved", NOW, True),
    ],
    ids=["open", "replaying", "may be restored", "resolved long ago", "its replay may still be under way"],
)
def test_the_keys_of_letters_that_may_be_replayed_are_needed(state, closed_at, is_needed):
    stem = f"{uuid4()}:reserve:1"
    record_letter(state=state, closed_at=closed_at, idempotency_key=f"{stem}:compensation")
    keys = [f"{stem}:action", f"{stem}:compensation", f"{uuid4()}"]

    assert needed_keys(keys, before=NOW) == (set(keys[:2]) if is_needed else set())
