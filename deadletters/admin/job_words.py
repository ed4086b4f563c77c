"""The stages of a bulk job and how far it is, in words for its page. Pure; its sentence is the job's own."""

from datetime import datetime

import msgspec

from deadletters.models import LetterJob

_STANDS = {
    LetterJob.State.PAUSED: "paused here",
    LetterJob.State.STOPPED: "stopped here",
    LetterJob.State.CANCELLED: "cancelled here",
}


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of a ramp: how many letters in words, and what became of it."""

    size: str
    state: str
    is_now: bool = False


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """How many letters were taken, of how many; `total` is None before the job has counted its letters."""

    taken: int
    total: int | None

    @property
    def words(self) -> str:
        if self.total is None:
            return "not begun"
        percent = 100 if not self.total else self.taken * 100 // self.total
        return f"{self.taken} of {self.total} ({percent} %)"


def state(job: LetterJob, *, now: datetime, is_short: bool = False) -> str:
    """The job's state; one that is to begin later does not run yet, whatever its row says."""
    if job.state == LetterJob.State.RUNNING and job.begins_at > now:
        return "to come" if is_short else "to come: begins later"
    return str(job.state) if is_short else str(LetterJob.State(job.state).label)


def share(job: LetterJob) -> Share:
    """Never more than all: letters that came after the count may have been taken too."""
    taken = job.done + job.refused
    return Share(taken=taken, total=None if job.total is None else max(job.total, taken))


def stages(job: LetterJob) -> list[Stage]:
    """The ramp, and after it all the others; nothing for a job that has no ramp."""
    if job.kind != LetterJob.Kind.REPLAY:
        return []
    ramp: list[int] = job.ramp
    left = None if job.total is None else job.total - sum(ramp)
    last = "all others" if left is None else "no others" if left <= 0 else f"{left} others"
    return [
        Stage(
            size=size,
            state=_state_of(job, index),
            is_now=index == job.stage and job.finished_at is None,
        )
        for index, size in enumerate([*map(str, ramp), last])
    ]


def _state_of(job: LetterJob, index: int) -> str:
    is_over = job.finished_at is not None
    if index < job.stage:
        return "done"
    if index > job.stage:
        return (
            "not needed" if job.state == LetterJob.State.FINISHED else "not reached" if is_over else "to come"
        )
    if job.state == LetterJob.State.FINISHED:
        return "done"
    return _STANDS.get(LetterJob.State(job.state), "to come" if job.total is None else "under way")
