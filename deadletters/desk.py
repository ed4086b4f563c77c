"""The desk's own door: whoever wants something of dead letters asks here, is permitted or refused, and written down.

Permission comes first, before anything is looked at. What is done and its entry in the operators' log are one
transaction; a refusal is committed by itself, although whoever asked gets an exception.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import msgspec
from django.conf import settings

from deadletters import desk_log, services
from deadletters.errors import NotPermitted, WrongFilter, WrongMove, WrongRequest
from deadletters.filtering import LetterFilter
from deadletters.jobs import letter_jobs
from deadletters.jobs.letter_jobs import NEEDED
from deadletters.models import DeadLetter, LetterGroup, LetterJob
from deadletters.outgoing import SERVICE
from deadletters.services import Asked, Outcome
from messaging.unit_of_work import UnitOfWork, unit_of_work

Kind, State = LetterJob.Kind, LetterJob.State

PERMISSIONS = {
    Kind.REPLAY: "deadletters.replay_deadletter",
    Kind.DISCARD: "deadletters.discard_deadletter",
    Kind.RESTORE: "deadletters.discard_deadletter",
}
"""What somebody must have who acts so, or steers a job that does."""
MOST_AT_ONCE = {Kind.REPLAY: 1, Kind.DISCARD: services.CHUNK, Kind.RESTORE: services.CHUNK}
"""More letters than these are for a bulk job."""
SLOWEST, FASTEST = 0.1, 1_000_000
"""Letters a second that a bulk replay may be asked for: beyond these bounds no times can be reckoned with."""
_MOST_REASONS = 5
_PARTICIPLES = {Kind.REPLAY: "replayed", Kind.DISCARD: "discarded", Kind.RESTORE: "restored"}


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks. `may` answers for a permission of Django's, such as `deadletters.replay_deadletter`."""

    name: str
    may: Callable[[str], bool]


class Acted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it: done at once (`outcome`), or begun as a bulk job (`job_id`).

    Where letters were named one by one, `outcome` also tells which of them the job has left out, and why.
    """

    outcome: Outcome | None = None
    job_id: UUID | None = None


class _Meant(msgspec.Struct, frozen=True, kw_only=True):
    """Letters to act on, and those that were named and stay: `closed` are there, `missing` are not."""

    ids: list[UUID]
    closed: dict[UUID, str] = {}
    missing: dict[UUID, str] = {}


def act(
    kind: LetterJob.Kind,
    chosen: LetterFilter,
    *,
    operator: Operator,
    reason: str,
    at: datetime,
    begins_at: datetime | None = None,
    rate: float | None = None,
    job_id: UUID | None = None,
) -> Acted:
    """Replay, discard or restore the letters that are meant.

    One letter to be replayed, or up to 500 to be discarded or restored, at once. Anything else becomes a bulk job, that
    begins now or at `begins_at`, and replays `rate` letters a second (settings.REPLAY_RATE unless given). With
    `job_id`, what is asked for twice makes one job: the second time raises `IntegrityError`.

    Raises `NotPermitted`, which is in the operators' log, `ReasonMissing` where letters are to be discarded,
    `WrongFilter` where what was asked for is in a state from which this cannot be done, and `WrongRequest`.
    """
    kind = Kind(kind)
    subject = described(chosen)
    letter_id = chosen.ids[0] if len(chosen.ids) == 1 else None
    _permit(kind, kind, operator=operator, subject=subject, reason=reason, at=at, letter_id=letter_id)
    _check(kind, chosen, reason=reason, at=at, begins_at=begins_at, rate=rate)
    asked = Asked(by=operator.name, reason=reason, at=at)
    meant = _meant(kind, chosen)
    is_at_once = len(meant.ids) <= MOST_AT_ONCE[kind] and (begins_at is None or not meant.ids)
    with unit_of_work(SERVICE) as work:
        if is_at_once:
            outcome = _act_now(kind, meant, asked=asked, work=work)
            job = None
        else:
            if chosen.ids:
                chosen = msgspec.structs.replace(chosen, ids=tuple(meant.ids))
            services.refuse(kind, meant.closed, asked=asked)
            outcome = Outcome(done=[], refused=meant.closed | meant.missing)
            job = letter_jobs.request(
                kind,
                chosen,
                description=subject,
                asked=asked,
                begins_at=begins_at,
                rate=rate or settings.REPLAY_RATE,
                ramp=settings.REPLAY_RAMP,
                job_id=job_id,
                work=work,
            )
        desk_log.note(
            by=operator.name,
            action=kind,
            subject=subject,
            at=at,
            reason=reason,
            detail=_detail(outcome, job),
            letters=len(outcome.done) if job is None else None,
            refused=len(outcome.refused),
            letter_id=letter_id or (outcome.done[0] if len(outcome.done) == 1 else None),
            job_id=job.id if job is not None else None,
        )
    if job is None:
        return Acted(outcome=outcome)
    return Acted(outcome=outcome if outcome.refused else None, job_id=job.id)


def described(chosen: LetterFilter) -> str:
    """The letters in words, with what those of a group have in common instead of their fingerprint."""
    group = LetterGroup.objects.filter(fingerprint=chosen.fingerprint).first() if chosen.fingerprint else None
    return chosen.describe(group=str(group) if group is not None else "")


def fitting(kind: LetterJob.Kind, chosen: LetterFilter) -> LetterFilter:
    """Those in the state that `kind` needs; raises `WrongFilter` where letters in another are asked for."""
    if chosen.state and chosen.state != NEEDED[kind]:
        raise WrongFilter(
            f"state is {chosen.state!r}, but only letters that are {NEEDED[kind].value} can be "
            f"{_PARTICIPLES[kind]}. Leave the state out, or choose that one."
        )
    return msgspec.structs.replace(chosen, state=NEEDED[kind].value)


def pause(job_id: UUID, *, operator: Operator, reason: str, at: datetime) -> None:
    """Let a running job send nothing more. Raises `NotPermitted` or `WrongMove`."""
    _steer(job_id, "pause", State.PAUSED, operator=operator, reason=reason, at=at)


def resume(job_id: UUID, *, operator: Operator, reason: str, at: datetime) -> None:
    """Let a job go on that was paused or has stopped by itself. What had come back when it stopped is forgiven;
    what came back while it was paused stops it now.

    Raises `NotPermitted` or `WrongMove`.
    """
    _steer(job_id, "resume", State.RUNNING, operator=operator, reason=reason, at=at)


def cancel(job_id: UUID, *, operator: Operator, reason: str, at: datetime) -> None:
    """End a job for good; letters that it has not taken stay as they are. Raises `NotPermitted` or `WrongMove`."""
    _steer(job_id, "cancel", State.CANCELLED, operator=operator, reason=reason, at=at)


def _steer(
    job_id: UUID, action: str, to: LetterJob.State, *, operator: Operator, reason: str, at: datetime
) -> None:
    # A job's kind never changes, so it may be asked for before the row is locked.
    job = LetterJob.objects.filter(id=job_id).only("kind", "description").first()
    if job is None:
        raise WrongMove(f"There is no bulk job {job_id}. Finished ones are forgotten after a while.")
    subject = str(job)
    _permit(Kind(job.kind), action, operator=operator, subject=subject, reason=reason, at=at, job_id=job_id)
    with unit_of_work(SERVICE) as work:
        letter_jobs.move(job_id, to, at=at, work=work)
        desk_log.note(by=operator.name, action=action, subject=subject, at=at, reason=reason, job_id=job_id)


def _permit(
    kind: LetterJob.Kind,
    action: str,
    *,
    operator: Operator,
    subject: str,
    reason: str,
    at: datetime,
    letter_id: UUID | None = None,
    job_id: UUID | None = None,
) -> None:
    permission = PERMISSIONS[kind]
    if operator.may(permission):
        return
    why = f"{operator.name} may not {action} this: the permission {permission} is missing."
    desk_log.note_refusal(
        by=operator.name,
        action=action,
        subject=subject,
        at=at,
        why=why,
        reason=reason,
        letter_id=letter_id,
        job_id=job_id,
    )
    raise NotPermitted(why)


def _check(
    kind: LetterJob.Kind,
    chosen: LetterFilter,
    *,
    reason: str,
    at: datetime,
    begins_at: datetime | None,
    rate: float | None,
) -> None:
    if kind == Kind.DISCARD:
        services.need_reason(reason)
    fitting(kind, chosen)
    if rate is not None and not SLOWEST <= rate <= FASTEST:
        raise WrongRequest(f"The rate is {rate:g}; it must be {SLOWEST:g} to {FASTEST} letters a second.")
    if begins_at is not None and begins_at.tzinfo is None:
        raise WrongRequest(f"{begins_at.isoformat()} says nothing of its time zone, so it is no time.")
    if begins_at is not None and begins_at <= at:
        raise WrongRequest(
            f"It is to begin at {begins_at:%Y-%m-%d %H:%M:%S %Z}, which has passed. Give a later time, or none for now."
        )


def _meant(kind: LetterJob.Kind, chosen: LetterFilter) -> _Meant:
    """The letters, as far as it takes to know whether they are few. Nothing is locked: whoever acts looks again."""
    if not chosen.ids:
        found = chosen.apply(DeadLetter.objects.filter(state=NEEDED[kind])).values_list("id", flat=True)
        return _Meant(ids=list(found[: MOST_AT_ONCE[kind] + 1]))
    anyhow = msgspec.structs.replace(chosen, state="")
    states = dict(anyhow.apply(DeadLetter.objects.all()).values_list("id", "state"))
    return _Meant(
        ids=sorted(letter_id for letter_id, state in states.items() if state == NEEDED[kind]),
        closed={
            letter_id: services.is_not(NEEDED[kind], state)
            for letter_id, state in states.items()
            if state != NEEDED[kind]
        },
        missing={
            letter_id: "There is no such letter." for letter_id in chosen.ids if letter_id not in states
        },
    )


def _act_now(kind: LetterJob.Kind, meant: _Meant, *, asked: Asked, work: UnitOfWork) -> Outcome:
    ids = [*meant.ids, *meant.closed]
    match kind:
        case Kind.REPLAY:
            outcome = services.begin_replays(ids, work, asked=asked, due=[asked.at] * len(ids))
        case Kind.DISCARD:
            outcome = services.close(ids, work, asked=asked)
        case Kind.RESTORE:
            outcome = services.reopen(ids, work, asked=asked)
    outcome.refused |= meant.missing
    return outcome


def _detail(outcome: Outcome, job: LetterJob | None) -> str:
    """What came of it, with the reasons why letters stay, the commonest first."""
    said = [f"It goes on as bulk job {job.id}."] if job is not None else []
    reasons = Counter(outcome.refused.values()).most_common()
    said += [f"{why} ({count}×)" if count > 1 else why for why, count in reasons[:_MOST_REASONS]]
    if len(reasons) > _MOST_REASONS:
        said.append(f"And {len(reasons) - _MOST_REASONS} other reasons.")
    return " ".join(said)
