"""What a bulk replay may send next: stage after stage, never faster than its rate, and never too much at once."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deadletters.jobs.letter_job_plan import (
    AHEAD,
    CHUNK,
    CameBack,
    Pace,
    allowance,
    climbed,
    due_times,
    most_open,
    next_look,
    reason_to_stop,
    sent,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
RATES = st.floats(0.05, 10_000)


def pace(*, ramp=(1, 5, 20), stage=0, stage_done=0, rate=50.0, paced_until=None) -> Pace:
    return Pace(ramp=ramp, stage=stage, stage_done=stage_done, rate=rate, paced_until=paced_until)


@pytest.mark.parametrize(("stage", "may"), [(0, 1), (1, 5), (2, 20), (3, 250)])
def test_each_stage_sends_its_number_and_the_last_what_the_rate_lets_go_in_five_seconds(stage, may):
    assert allowance(pace(stage=stage), open_replays=0, at=NOON) == may


def test_a_stage_is_left_only_when_all_of_it_was_sent_and_is_concluded():
    assert climbed(pace(stage=1, stage_done=4), open_replays=0).stage == 1
    assert climbed(pace(stage=1, stage_done=5), open_replays=1).stage == 1
    assert climbed(pace(stage=1, stage_done=5), open_replays=0) == pace(stage=2)
    assert climbed(pace(stage=3), open_replays=0) == pace(stage=3)
    assert allowance(pace(stage=1, stage_done=5), open_replays=1, at=NOON) == 0


def test_without_a_ramp_everything_goes_at_the_rate_from_the_start():
    assert allowance(pace(ramp=()), open_replays=0, at=NOON) == 250


def test_a_rate_of_less_than_one_letter_a_step_sends_one_and_then_waits():
    slow = pace(ramp=(), rate=0.1)
    assert allowance(slow, open_replays=0, at=NOON) == 1
    after = sent(slow, 1, at=NOON)
    assert after.paced_until == NOON + timedelta(seconds=10)
    assert allowance(after, open_replays=0, at=NOON + timedelta(seconds=4)) == 0
    assert next_look(after, open_replays=0, is_exhausted=False, at=NOON) == after.paced_until


def test_no_more_are_under_way_than_can_be_waited_for():
    assert (most_open(1), most_open(50), most_open(1e9)) == (100, 500, 5_000)
    assert allowance(pace(ramp=()), open_replays=490, at=NOON) == 10
    assert allowance(pace(ramp=()), open_replays=500, at=NOON) == 0
    assert next_look(pace(ramp=()), open_replays=500, is_exhausted=False, at=NOON) > NOON


@given(rate=RATES, pauses=st.lists(st.floats(0, 20), min_size=1, max_size=20))
def test_whenever_steps_come_the_rate_is_kept_and_little_is_sent_ahead(rate, pauses):
    now, then = NOON, pace(ramp=(), rate=rate)
    due: list[datetime] = []
    for pause in pauses:
        now += timedelta(seconds=pause)
        count = allowance(then, open_replays=0, at=now)
        times = due_times(then, count, at=now)
        assert count <= CHUNK
        assert all(now <= time <= now + AHEAD for time in times)
        then, due = sent(then, count, at=now), due + times

    apart = 1 / rate - 2e-6  # times are whole microseconds
    assert all((later - one).total_seconds() >= apart for one, later in pairwise(due))


@given(rate=RATES, open_replays=st.integers(0, 6_000), stage=st.integers(0, 3), done=st.integers(0, 20))
def test_a_job_that_sends_nothing_looks_again_later_and_one_that_may_send_does_not_wait(
    rate, open_replays, stage, done
):
    this = climbed(pace(stage=stage, stage_done=done, rate=rate), open_replays=open_replays)
    count = allowance(this, open_replays=open_replays, at=NOON)

    looks = next_look(this, open_replays=open_replays, is_exhausted=False, at=NOON)

    assert looks > NOON if count == 0 else looks == NOON


def came_back(*, is_same: bool) -> CameBack:
    return CameBack(letter_id=uuid4(), fingerprint="f1", problem="KeyError: 'sku'", is_same=is_same)


def test_the_same_failure_always_stops_a_job_and_another_one_only_on_the_ramp():
    assert reason_to_stop(None, is_on_ramp=True) == ""
    assert reason_to_stop(came_back(is_same=False), is_on_ramp=False) == ""
    assert "another failure" in reason_to_stop(came_back(is_same=False), is_on_ramp=True)
    same = came_back(is_same=True)
    for is_on_ramp in (True, False):
        said = reason_to_stop(same, is_on_ramp=is_on_ramp)
        assert str(same.letter_id) in said
        assert "the same failure: KeyError: 'sku' (group f1)" in said
