"""What a bulk job does at the moment, in words: its sentence, its stages, and how far it is. Pure."""

from datetime import datetime

import msgspec

from deadletters.models import LetterJob

_PAST = {
    LetterJob.Kind.REPLAY: "sent again",
    LetterJob.Kind.DISCARD: "discarded",
    LetterJob.Kind.RESTORE: "opened again",
}


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """Of the letters that a job has sent: not answered yet, and come back. All others were handled."""

    unanswered: int = 0
    came_back: int = 0


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of a ramp: how many letters in words, and what became of it."""

    size: str
    state: str
    is_now: bool = False


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """How far a job is; `total` is None before it has counted its letters."""

    taken: int
    total: int | None

    @property
    def words(self) -> str:
        if self.total is None:
            return f"{self.taken} so far"
        percent = 100 if not self.total else min(100, self.taken * 100 // self.total)
        return f"{self.taken} of {self.total} ({percent} %)"


def share(job: LetterJob) -> Share:
    """Letters that were taken, of those that there were when it began; where more have come it is never over full."""
    taken = job.done + job.refused
    return Share(taken=taken, total=None if job.total is None else max(job.total, taken))


def sentence(job: LetterJob, outcomes: Outcomes, *, now: datetime) -> str:
    """One sentence or two on what it does, and what it waits for."""
    far = share(job).words
    match job.state:
        case LetterJob.State.PAUSED:
            return f"Paused at {far}. Nothing more is {_PAST[_kind(job)]} before somebody resumes it."
        case LetterJob.State.STOPPED:
            return f"Stopped by itself at {far}. Nothing more is sent before somebody resumes it."
        case LetterJob.State.CANCELLED:
            return f"Cancelled at {far}. What was {_PAST[_kind(job)]} before stays so."
        case LetterJob.State.FINISHED:
            return _finished(job, outcomes)
    return _running(job, outcomes, far, now=now)


def stages(job: LetterJob) -> list[Stage]:
    """The ramp, and after it all the others; nothing for a job that has no ramp."""
    if job.kind != LetterJob.Kind.REPLAY:
        return []
    ramp: list[int] = job.ramp
    left = None if job.total is None else job.total - sum(ramp)
    last = "all others" if left is None else "no others" if left <= 0 else f"{left} others"
    return [
        Stage(size=size, state=_stage_state(job, index), is_now=index == job.stage and not _is_over(job))
        for index, size in enumerate([*map(str, ramp), last])
    ]


def _running(job: LetterJob, outcomes: Outcomes, far: str, *, now: datetime) -> str:
    if job.begins_at > now:
        return f"Begins at {job.begins_at:%Y-%m-%d %H:%M} UTC."
    if job.advanced_at is None and job.total is None:
        return "Waits for the operators' worker, which takes it up in a moment."
    waits = f" {outcomes.unanswered} not answered yet." if outcomes.unanswered else ""
    if job.is_exhausted:
        return f"All letters are {_PAST[_kind(job)]}.{waits}"
    if job.kind != LetterJob.Kind.REPLAY:
        return f"{far} {_PAST[_kind(job)]}."
    if job.stage < len(job.ramp):
        size = job.ramp[job.stage]
        letters = "letter" if size == 1 else "letters"
        if job.stage_done >= size and outcomes.unanswered:
            return f"Waits for the outcome of stage {job.stage + 1}, {size} {letters}:{waits}"
        return f"Stage {job.stage + 1}, {size} {letters}: {far} sent again.{waits}"
    return f"Sends all others, at most {job.rate:g} a second: {far}.{waits}"


def _finished(job: LetterJob, outcomes: Outcomes) -> str:
    stayed = f" {job.refused} could not be, and stay as they are." if job.refused else ""
    if job.kind != LetterJob.Kind.REPLAY:
        return f"Finished: {job.done} {_PAST[_kind(job)]}.{stayed}"
    if outcomes.came_back:
        back = "1 came back" if outcomes.came_back == 1 else f"{outcomes.came_back} came back"
        return f"Finished: {job.done} sent again, of which {back}.{stayed}"
    return f"Finished: {job.done} sent again, and none came back.{stayed}"


def _stage_state(job: LetterJob, index: int) -> str:
    if index < job.stage or job.state == LetterJob.State.FINISHED:
        return "done"
    if index > job.stage:
        return "to come" if not _is_over(job) else "not reached"
    return {
        LetterJob.State.PAUSED: "paused here",
        LetterJob.State.STOPPED: "stopped here",
        LetterJob.State.CANCELLED: "cancelled here",
    }.get(LetterJob.State(job.state), "under way")


def _is_over(job: LetterJob) -> bool:
    return job.state in (LetterJob.State.CANCELLED, LetterJob.State.FINISHED)


def _kind(job: LetterJob) -> LetterJob.Kind:
    return LetterJob.Kind(job.kind)
