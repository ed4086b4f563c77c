"""What a bulk replay may send next, and what stops it. Pure: the job's row and what has become of its replays go in."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

CHUNK = 500
"""Letters of one step, which is one transaction."""
AHEAD = timedelta(seconds=5)
"""How far ahead letters are put into the outbox: so much of a job can no longer be held back when it stops."""
LOOK_EVERY = timedelta(seconds=5)
"""How long outcomes are awaited before the job looks by itself, should nobody have woken it."""
FEWEST_OPEN, MOST_OPEN = 100, 5_000
"""Bounds on the letters of a job that are under way: without them a job would only be stopped when all is sent."""
_OPEN_SECONDS = 10
"""Between those bounds: what is sent in so many seconds."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How far a job is on its ramp, and from when on its rate lets the next letter go."""

    ramp: Sequence[int]
    stage: int
    stage_done: int
    rate: float
    paced_until: datetime | None

    @property
    def is_on_ramp(self) -> bool:
        return self.stage < len(self.ramp)

    @property
    def left_of_stage(self) -> int:
        """Letters that this stage still sends; only asked on the ramp."""
        return self.ramp[self.stage] - self.stage_done

    def begins_next(self, at: datetime) -> datetime:
        """When the next letter may be due."""
        return at if self.paced_until is None else max(at, self.paced_until)


class CameBack(msgspec.Struct, frozen=True, kw_only=True):
    """A letter that came back from a replay of the job, and whether with the failure that its message had before."""

    letter_id: UUID
    fingerprint: str
    problem: str
    is_same: bool


def believable(paced_until: datetime | None, *, rate: float, at: datetime) -> datetime | None:
    """The time until which the rate holds letters back; no later than any step would have set it.

    It is later where the clock was put back meanwhile, and the job would wait until the clock has caught up.
    """
    if paced_until is None:
        return None
    return min(paced_until, at + max(AHEAD, timedelta(seconds=1 / rate)))


def climbed(pace: Pace, *, open_replays: int) -> Pace:
    """The pace with its next stage, where all letters of this one were sent and are concluded."""
    if pace.is_on_ramp and pace.left_of_stage <= 0 and not open_replays:
        return msgspec.structs.replace(pace, stage=pace.stage + 1, stage_done=0)
    return pace


def allowance(pace: Pace, *, open_replays: int, at: datetime) -> int:
    """How many letters may be sent now: no more than the stage, the rate and what is under way let go."""
    starts = pace.begins_next(at)
    in_time = math.floor((at + AHEAD - starts).total_seconds() * pace.rate)
    if starts == at:
        in_time = max(1, in_time)
    left = pace.left_of_stage if pace.is_on_ramp else most_open(pace.rate) - open_replays
    return max(0, min(CHUNK, in_time, left))


def due_times(pace: Pace, count: int, *, at: datetime) -> list[datetime]:
    """When each of the next letters is due, one after the other as the rate says."""
    starts = pace.begins_next(at)
    return [starts + timedelta(seconds=place / pace.rate) for place in range(count)]


def sent(pace: Pace, count: int, *, at: datetime) -> Pace:
    """The pace after so many letters more."""
    if not count:
        return pace
    through = pace.begins_next(at) + timedelta(seconds=count / pace.rate)
    on_ramp = count if pace.is_on_ramp else 0
    return msgspec.structs.replace(pace, stage_done=pace.stage_done + on_ramp, paced_until=through)


def next_look(pace: Pace, *, open_replays: int, is_exhausted: bool, at: datetime) -> datetime:
    """When the next step is due: when more may be sent, or where outcomes are awaited, after a while."""
    awaits_stage = pace.is_on_ramp and pace.left_of_stage <= 0
    awaits_workers = not pace.is_on_ramp and open_replays >= most_open(pace.rate)
    if is_exhausted or awaits_stage or awaits_workers:
        return at + LOOK_EVERY
    return pace.begins_next(at)


def reason_to_stop(came_back: CameBack | None, *, is_on_ramp: bool) -> str:
    """Why the job stops, as a sentence; empty where it goes on.

    On the ramp every letter that comes back is a reason, later one with the failure that its message had before.
    """
    if came_back is None or not (came_back.is_same or is_on_ramp):
        return ""
    how = "with the same failure" if came_back.is_same else "with another failure"
    return (
        f"Letter {came_back.letter_id} came back from its replay {how}: {came_back.problem} "
        f"(group {came_back.fingerprint})."
    )


def most_open(rate: float) -> int:
    """How many letters of a job may be under way."""
    return int(min(MOST_OPEN, max(FEWEST_OPEN, rate * _OPEN_SECONDS)))
