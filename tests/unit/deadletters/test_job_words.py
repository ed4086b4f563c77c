"""The stages of a bulk job, as its page shows them."""

from datetime import UTC, datetime, timedelta

import pytest

from deadletters.admin import job_words
from deadletters.models import LetterJob

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def a_job(**fields: object) -> LetterJob:
    known = {"kind": "replay", "state": "running", "ramp": [1, 5], "total": 30, "rate": 50.0}
    over = {"finished_at": NOON} if fields.get("state") in ("cancelled", "finished") else {}
    return LetterJob(**{"stage": 0, "done": 0, "refused": 0, **known, **over, **fields})


def stages(job: LetterJob) -> list[tuple[str, str, bool]]:
    return [(stage.size, stage.state, stage.is_now) for stage in job_words.stages(job)]


def test_stages_behind_are_done_and_those_before_are_to_come():
    assert stages(a_job(stage=1)) == [
        ("1", "done", False),
        ("5", "under way", True),
        ("24 others", "to come", False),
    ]


@pytest.mark.parametrize(
    ("state", "said"),
    [("paused", "paused here"), ("stopped", "stopped here"), ("cancelled", "cancelled here")],
)
def test_where_a_job_stands_still_its_stage_says_so(state, said):
    assert job_words.stages(a_job(state=state, stage=1))[1].state == said


def test_of_a_job_that_is_over_no_stage_is_to_come():
    assert [state for _, state, _ in stages(a_job(state="cancelled"))] == [
        "cancelled here",
        "not reached",
        "not reached",
    ]
    assert [state for _, state, _ in stages(a_job(state="finished", total=1))] == [
        "done",
        "not needed",
        "not needed",
    ]


def test_before_it_has_begun_it_is_not_known_how_many_others_there_are():
    assert stages(a_job(total=None))[-1] == ("all others", "to come", False)


def test_a_job_without_a_ramp_has_no_stages():
    assert stages(a_job(kind="discard", ramp=[])) == []


@pytest.mark.parametrize(
    ("done", "refused", "total", "words"),
    [
        (0, 0, None, "not begun"),
        (3, 1, 8, "4 of 8 (50 %)"),
        (9, 0, 8, "9 of 9 (100 %)"),
        (0, 0, 0, "0 of 0 (100 %)"),
    ],
)
def test_it_is_never_more_than_whole(done, refused, total, words):
    assert job_words.share(a_job(done=done, refused=refused, total=total)).words == words


def test_a_job_that_begins_later_is_not_said_to_run():
    job = a_job(begins_at=NOON)

    assert job_words.state(job, now=NOON - timedelta(hours=1)) == "to come: begins later"
    assert job_words.state(job, now=NOON - timedelta(hours=1), is_short=True) == "to come"
    assert job_words.state(job, now=NOON) == "running"
    paused = a_job(begins_at=NOON, state="paused")
    assert job_words.state(paused, now=NOON - timedelta(hours=1)) == "paused: by a person"
