"""Bulk jobs: something done with many letters, step by step, each step one message and one transaction.

What a step takes, how far the job is, and the message that wakes the next step are committed together. So a job that is
killed anywhere goes on from there, and does nothing twice. A step locks its job before any letter.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from django.db.models import Q, QuerySet

from deadletters import services
from deadletters.errors import WrongMove
from deadletters.filtering import LetterFilter
from deadletters.jobs import letter_job_plan as plan
from deadletters.jobs import letter_job_statements
from deadletters.jobs.letter_job_plan import Pace
from deadletters.jobs.letter_job_progress import Outcomes, keep_result, outcomes_of, progress, progress_with
from deadletters.models import DeadLetter, LetterJob, Replay
from deadletters.outgoing import SERVICE, take_wake_up_back, wake_up
from deadletters.services import Asked
from deadletters.statements import answers
from messaging.envelope import new_message_id
from messaging.unit_of_work import UnitOfWork, current, unit_of_work

log = logging.getLogger(__name__)

Kind, State = LetterJob.Kind, LetterJob.State

NEEDED = {
    Kind.REPLAY: DeadLetter.State.OPEN,
    Kind.DISCARD: DeadLetter.State.OPEN,
    Kind.RESTORE: DeadLetter.State.DISCARDED,
}
"""The state that a letter must be in."""
MOVES = {
    State.PAUSED: (State.RUNNING,),
    State.RUNNING: (State.PAUSED, State.STOPPED),
    State.CANCELLED: (State.RUNNING, State.PAUSED, State.STOPPED),
}
"""What a person may make of a job, and from which states."""
_MOVING = (
    *("state", "total", "stage", "stage_done", "done", "refused", "after", "is_exhausted", "paced_until"),
    *("stopped_because", "collected_until", "resumed_at", "advanced_at", "finished_at"),
)
"""All that changes of a job; what was asked for does not."""
_LONGEST_SLEEP = timedelta(days=1)
"""A message that waits longer might be taken for too old to be run."""
_FORGOTTEN_AFTER = timedelta(minutes=2)
"""Longer than a step waits for outcomes, and than most of its repetitions take when it fails."""
_MOST_DEAD = 3
"""Messages of a job that may die; after so many it is the job, and each that is sent more is one letter more."""


def request(
    kind: LetterJob.Kind,
    chosen: LetterFilter,
    *,
    description: str,
    asked: Asked,
    begins_at: datetime | None,
    rate: float,
    ramp: Sequence[int],
    job_id: UUID | None = None,
    work: UnitOfWork,
) -> LetterJob:
    """Begin a job on the letters that are meant and there by now, with the caller's unit of work."""
    job = LetterJob.objects.create(
        id=job_id or new_message_id(),
        kind=kind,
        state=State.RUNNING,
        filter=msgspec.to_builtins(chosen),
        description=description,
        requested_by=asked.by,
        requested_at=asked.at,
        collected_until=asked.at,
        reason=asked.reason,
        begins_at=begins_at or asked.at,
        ramp=list(ramp) if kind == Kind.REPLAY else [],
        rate=rate,
        stage=0,
        stage_done=0,
        done=0,
        refused=0,
        is_exhausted=False,
        stopped_because="",
    )
    keep_result(job, progress_with(job, Outcomes()), at=asked.at)
    _wake(job, due=job.begins_at, work=work)
    return job


def move(job_id: UUID, to: LetterJob.State, *, at: datetime, work: UnitOfWork) -> LetterJob:
    """Pause, resume or cancel a job, with the caller's unit of work. What was sent before goes on in any case.

    A job that had stopped by itself climbs its ramp anew, takes what came back from it too, and has that forgiven.
    Raises `WrongMove`.
    """
    job = _locked(job_id)
    if job is None:
        raise WrongMove(f"There is no bulk job {job_id}. Finished ones are forgotten after a while.")
    if job.state not in MOVES[to]:
        may_be = " or ".join(MOVES[to])
        raise WrongMove(
            f"The bulk job {job_id} is {job.state}; only one that is {may_be} can become {to.value}."
        )
    if job.state == State.STOPPED and to == State.RUNNING:
        _begin_anew(job, at=at)
    job.state = to
    if to == State.RUNNING:
        job.stopped_because = ""
        _wake(job, due=max(at, job.begins_at), work=work)
    else:
        work.add_statement(take_wake_up_back(job_id))
    if to == State.CANCELLED:
        job.finished_at = at
    job.save(update_fields=_MOVING)
    keep_result(job, progress(job), at=at)
    return job


def advance(job_id: UUID, *, at: datetime) -> None:
    """Do the job's next step, in the current unit of work; of one that does not run, nothing.

    Afterwards it is finished, or has stopped, or its next wake-up is in the outbox.
    """
    work = current()
    job = _locked(job_id)
    if job is None:
        log.warning("there is no bulk job %s to be advanced: it was forgotten long after its end", job_id)
        return
    if job.state != State.RUNNING:
        return
    if at < job.begins_at:
        _wake(job, due=job.begins_at, work=work)
        return
    if job.total is None:
        job.total = _letters(job).count()
    if job.kind == Kind.REPLAY:
        outcomes, due = _replay_some(job, at=at, work=work)
    else:
        outcomes, due = Outcomes(), _close_some(job, at=at, work=work)
    if due is not None:
        _wake(job, due=due, work=work)
    job.advanced_at = at
    job.save(update_fields=_MOVING)
    keep_result(job, progress_with(job, outcomes), at=at)


def wake_forgotten(*, at: datetime) -> list[UUID]:
    """Wake the running jobs whose next step was due long ago: its message may itself be a dead letter.

    One whose message is only late gets another, which it takes no harm from. One whose messages die again and again is
    stopped instead, and says so.
    """
    found = []
    with unit_of_work(SERVICE) as work:
        for job_id, died, letter_id, problem in answers(
            letter_job_statements.forgotten(before=at - _FORGOTTEN_AFTER)
        ):
            if died < _MOST_DEAD:
                found.append(job_id)
                work.outgoing.append(wake_up(job_id, due=at, now=at))
            else:
                why = f"Its own messages die: {died} have, the last as letter {letter_id}: {problem}."
                _stop(job_id, why, at=at, work=work)
    for job_id in found:
        log.warning("the bulk job %s had been forgotten, and is woken", job_id)
    return found


def _replay_some(job: LetterJob, *, at: datetime, work: UnitOfWork) -> tuple[Outcomes, datetime | None]:
    """Send as many letters as may be sent now; how it stands then, and when the next step is due, if there is one."""
    outcomes = outcomes_of(job)
    pace = Pace(
        ramp=job.ramp,
        stage=job.stage,
        stage_done=job.stage_done,
        rate=job.rate,
        paced_until=plan.believable(job.paced_until, rate=job.rate, at=at),
    )
    if why := plan.reason_to_stop(outcomes.came_back, is_on_ramp=pace.is_on_ramp):
        job.state, job.stopped_because = State.STOPPED, why
        return outcomes, None
    pace = plan.climbed(pace, open_replays=outcomes.open)
    count = 0 if job.is_exhausted else plan.allowance(pace, open_replays=outcomes.open, at=at)
    ids = _take(job, count)
    if ids:
        begun = services.begin_replays(
            ids, work, asked=_asked(job, at), due=plan.due_times(pace, len(ids), at=at), job_id=job.id
        )
        _count(job, begun)
        pace = plan.sent(pace, len(begun.done), at=at)
        outcomes = msgspec.structs.replace(outcomes, open=outcomes.open + len(begun.done))
    job.stage, job.stage_done, job.paced_until = pace.stage, pace.stage_done, pace.paced_until
    if job.is_exhausted and not outcomes.open:
        _finish(job, at=at)
        return outcomes, None
    return outcomes, plan.next_look(pace, open_replays=outcomes.open, is_exhausted=job.is_exhausted, at=at)


def _close_some(job: LetterJob, *, at: datetime, work: UnitOfWork) -> datetime | None:
    """Discard or restore a chunk; when the next step is due, if there is one."""
    act = services.close if job.kind == Kind.DISCARD else services.reopen
    ids = _take(job, plan.CHUNK)
    if ids:
        _count(job, act(ids, work, asked=_asked(job, at)))
    if job.is_exhausted:
        _finish(job, at=at)
        return None
    return at


def _begin_anew(job: LetterJob, *, at: datetime) -> None:
    """Let it take all the letters meant that are open now: those it had not come to, and those that came back."""
    job.resumed_at = at
    job.stage = job.stage_done = 0
    job.after, job.is_exhausted, job.collected_until = None, False, at
    job.total = job.done + job.refused + _letters(job).count()


def _letters(job: LetterJob) -> QuerySet[DeadLetter]:
    chosen = msgspec.convert(job.filter, LetterFilter)
    letters = DeadLetter.objects.filter(state=NEEDED[Kind(job.kind)], collected_at__lte=job.collected_until)
    if job.resumed_at is None or not (chosen.ids or chosen.since or chosen.until):
        return chosen.apply(letters)
    # What came back has an id of its own, that nobody has named, and died later.
    came_back = Q(replay_id__in=Replay.objects.filter(job=job, outcome=Replay.Outcome.FAILED).values("id"))
    bounds = {"id__in": chosen.ids, "died_at__gte": chosen.since, "died_at__lt": chosen.until}
    named = Q(**{name: value for name, value in bounds.items() if value})
    others = msgspec.structs.replace(chosen, ids=(), since=None, until=None)
    return others.apply(letters).filter(named | came_back)


def _take(job: LetterJob, count: int) -> list[UUID]:
    """Lock the job's next letters and move its cursor over them; fewer than asked for are the last there are.

    The limit counts letters that are locked, so those that somebody else has just moved are passed over.
    """
    if not count:
        return []
    letters = _letters(job)
    if job.after is not None:
        letters = letters.filter(id__gt=job.after)
    ids = list(letters.order_by("id").select_for_update().values_list("id", flat=True)[:count])
    job.is_exhausted = len(ids) < count
    if ids:
        job.after = ids[-1]
    return ids


def _asked(job: LetterJob, at: datetime) -> Asked:
    return Asked(by=job.requested_by, reason=job.reason, at=at)


def _count(job: LetterJob, outcome: services.Outcome) -> None:
    job.done += len(outcome.done)
    job.refused += len(outcome.refused)


def _stop(job_id: UUID, why: str, *, at: datetime, work: UnitOfWork) -> None:
    """Stop a job that runs and whose step is not under way at this moment."""
    running = LetterJob.objects.filter(id=job_id, state=State.RUNNING)
    job = running.select_for_update(skip_locked=True).first()
    if job is None:
        return
    job.state, job.stopped_because = State.STOPPED, why
    job.save(update_fields=_MOVING)
    keep_result(job, progress(job), at=at)
    work.add_statement(take_wake_up_back(job_id))
    log.error("the bulk job %s has stopped: %s", job_id, why)


def _finish(job: LetterJob, *, at: datetime) -> None:
    job.state, job.finished_at = State.FINISHED, at


def _wake(job: LetterJob, *, due: datetime, work: UnitOfWork) -> None:
    work.outgoing.append(wake_up(job.id, due=min(due, work.now + _LONGEST_SLEEP), now=work.now))


def _locked(job_id: UUID) -> LetterJob | None:
    return LetterJob.objects.select_for_update().filter(id=job_id).first()
