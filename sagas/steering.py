"""The door for people who act on sagas: who asks is permitted or refused, and written down.

Permission comes first, before anything is looked at. What is done, what is sent because of it, and its entries in the
operators' log are one transaction for each hundred sagas; a refusal is committed by itself.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from deadletters import desk_log
from deadletters.desk import Operator
from deadletters.models import DeskEntry
from messaging.envelope import new_message_id
from messaging.unit_of_work import UnitOfWork, unit_of_work
from sagas import records
from sagas.batch import policy
from sagas.decide import decide
from sagas.errors import ActionRefused, NotPermitted, WrongRequest
from sagas.forking import fork as fork_of
from sagas.forking import refusal_to_fork, superseded
from sagas.handlers import SERVICE
from sagas.incoming import (
    Action,
    CancelSaga,
    MarkUndone,
    PauseSaga,
    ResumeSaga,
    RetryStep,
    SkipStep,
)
from sagas.models import SagaRecord
from sagas.moves import Decision, Sending
from sagas.outgoing import keep_deadlines, note_of, outgoing
from sagas.records import LoadedSaga, Locked, NewSaga, Note
from sagas.registry import definition, newest, saga_id

STEER = "sagas.steer_sagarecord"
MEND = "sagas.mend_sagarecord"
CANCEL = "sagas.cancel_sagarecord"
FORK = "sagas.fork_sagarecord"
PERMISSIONS: dict[type[Action], str] = {
    PauseSaga: STEER,
    ResumeSaga: STEER,
    RetryStep: STEER,
    SkipStep: MEND,
    MarkUndone: MEND,
    CancelSaga: CANCEL,
}
NEEDS_A_REASON = (SkipStep, MarkUndone, CancelSaga)
NEEDS_EVIDENCE = (MarkUndone,)
MOST_AT_ONCE = 1000
"""So many sagas may be acted on by one request."""
CHUNK = 100


class Steered(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it: for each saga that was moved what it sent, and for each other one why it was not."""

    done: dict[UUID, tuple[Sending, ...]]
    refused: dict[UUID, str]


def steer(
    action: Action,
    ids: Iterable[UUID],
    *,
    operator: Operator,
    at: datetime,
    reason: str = "",
    evidence: str = "",
) -> Steered:
    """Do this to each of the sagas that allow it, and tell of the others why they do not.

    Raises `NotPermitted`, which is in the operators' log, and `WrongRequest` where a reason (and for what was undone by
    hand the evidence) is missing, or more than a thousand sagas are meant.
    """
    wanted = sorted(set(ids))
    name = name_of(action)
    _permit(PERMISSIONS[type(action)], name, wanted, operator=operator, reason=reason, at=at)
    _check(action, wanted, reason=reason, evidence=evidence)
    told = {"by": operator.name, "reason": reason, "evidence": evidence}
    done: dict[UUID, tuple[Sending, ...]] = {}
    refused: dict[UUID, str] = {}
    for start in range(0, len(wanted), CHUNK):
        chunk = wanted[start : start + CHUNK]
        with unit_of_work(SERVICE) as work:
            locked = records.lock(chunk, now=work.now)
            entries, notes = [], list[Note]()
            for loaded_id, decision, refusal in _decided(action, chunk, locked, now=work.now):
                loaded = locked.sagas.get(loaded_id)
                if decision is not None and loaded is not None:
                    notes += _carry_out(decision, loaded, action, told, work=work)
                    done[loaded_id] = decision.sendings
                else:
                    refused[loaded_id] = refusal
                entries.append(
                    desk_log.entry(
                        by=operator.name,
                        action=name,
                        subject=_subject(loaded, loaded_id, action),
                        at=at,
                        reason=reason,
                        detail=refusal or _what_was_sent(decision, evidence),
                        saga_id=loaded_id,
                        outcome=DeskEntry.Outcome.REFUSED if refusal else DeskEntry.Outcome.DONE,
                    )
                )
            DeskEntry.objects.bulk_create(entries)
            _save(locked.sagas.values(), notes, work)
    return Steered(done=done, refused=refused)


def forecast(action: Action, ids: Iterable[UUID], *, now: datetime) -> Steered:
    """What `steer` would do and send if nothing happened in between; it changes nothing and locks nothing."""
    wanted = sorted(set(ids))
    done, refused = {}, {}
    for saga, decision, refusal in _decided(action, wanted, records.look(wanted, now=now), now=now):
        if decision is not None:
            done[saga] = decision.sendings
        else:
            refused[saga] = refusal
    return Steered(done=done, refused=refused)


def run_again(
    old_id: UUID, from_step: str, *, operator: Operator, at: datetime, reason: str
) -> tuple[UUID, tuple[Sending, ...]]:
    """Run a saga again from a step, on the newest version of its definition; the id of the fork, and what it sends.

    An unfinished saga ends with it: its effects are the fork's from now on. Raises `NotPermitted`, `WrongRequest`, and
    `ActionRefused` where it cannot be done; both refusals are in the operators' log.
    """
    _permit(FORK, "fork", [old_id], operator=operator, reason=reason, at=at)
    if not reason.strip():
        raise WrongRequest("A reason is missing: say why the saga is run again.")
    try:
        with unit_of_work(SERVICE) as work:
            locked = records.lock([old_id], now=work.now)
            loaded, new, decision = _forked(old_id, from_step, locked, now=work.now)
            _begin_fork(loaded, new, decision, work=work)
            loaded.state = superseded(loaded.state, now=work.now)
            told = {"by": operator.name, "reason": reason, "from": from_step}
            fork = LoadedSaga(
                name=new.name,
                version=new.version,
                correlation_id=loaded.correlation_id,
                business_key=loaded.business_key,
                generation=new.generation,
                stored=msgspec.structs.replace(decision.saga, steps=(), data={}),
                state=decision.saga,
            )
            notes = [_note(saga, "fork", told, step=from_step, work=work) for saga in (loaded, fork)]
            notes += _send(decision.sendings, fork, work=work)
            _save([loaded, fork], notes, work)
            desk_log.note(
                by=operator.name,
                action="fork",
                subject=f"{_subject(loaded, old_id, None)} from step {from_step}",
                at=at,
                reason=reason,
                detail=f"as saga {new.id}, version {new.version}; {_what_was_sent(decision, '')}",
                saga_id=old_id,
            )
    except ActionRefused as refusal:
        desk_log.note_refusal(
            by=operator.name,
            action="fork",
            subject=f"saga {old_id} from step {from_step}",
            at=at,
            why=str(refusal),
            reason=reason,
            saga_id=old_id,
        )
        raise
    return new.id, decision.sendings


def forecast_fork(old_id: UUID, from_step: str, *, now: datetime) -> tuple[Sending, ...]:
    """What the fork would send first. Raises `ActionRefused` where there can be none."""
    _, _, decision = _forked(old_id, from_step, records.look([old_id], now=now), now=now)
    return decision.sendings


def name_of(action: Action) -> str:
    """Such as `retry`; the word for it in records, addresses and the operators' log."""
    return str(type(action).__struct_config__.tag)


def _decided(
    action: Action, ids: Sequence[UUID], locked: Locked, *, now: datetime
) -> Iterator[tuple[UUID, Decision | None, str]]:
    for wanted in ids:
        loaded = locked.sagas.get(wanted)
        if loaded is None:
            yield wanted, None, "There is no such saga."
            continue
        try:
            decision = decide(
                definition(loaded.name, loaded.version),
                loaded.state,
                action,
                now=now,
                policy=policy(),
                switches=locked.switches,
            )
        except ActionRefused as refusal:
            yield wanted, None, str(refusal)
        else:
            yield wanted, decision, ""


def _forked(
    old_id: UUID, from_step: str, locked: Locked, *, now: datetime
) -> tuple[LoadedSaga, NewSaga, Decision]:
    loaded = locked.sagas.get(old_id)
    if loaded is None:
        raise ActionRefused("There is no such saga.")
    again = SagaRecord.objects.filter(forked_from=old_id).values_list("id", flat=True).first()
    if again is not None:
        raise ActionRefused(f"It has been run again already, as saga {again}. Run that one again.")
    to = newest(loaded.name)
    refusal = refusal_to_fork(definition(loaded.name, loaded.version), loaded.state, to, from_step)
    if refusal is not None:
        raise ActionRefused(refusal)
    generation = loaded.generation + 1
    new = NewSaga(
        id=saga_id(loaded.name, loaded.business_key, generation=generation),
        name=to.name,
        version=to.version,
        business_key=loaded.business_key,
        correlation_id=loaded.correlation_id,
        generation=generation,
        forked_from=old_id,
    )
    return (
        loaded,
        new,
        fork_of(loaded.state, to, saga_id=new.id, now=now, policy=policy(), switches=locked.switches),
    )


def _begin_fork(loaded: LoadedSaga, new: NewSaga, decision: Decision, *, work: UnitOfWork) -> None:
    """The old saga is locked, so nobody else forks it meanwhile."""
    if not records.begin([new], now=work.now):
        raise ActionRefused(f"It has been run again already, as saga {new.id}. Run that one again.")


def _carry_out(
    decision: Decision, loaded: LoadedSaga, action: Action, told: dict[str, str], *, work: UnitOfWork
) -> list[Note]:
    """What the saga is to remember of it: that a person acted, and what was sent because of that."""
    loaded.state = decision.saga
    step = str(getattr(action, "step", ""))
    acted = _note(loaded, name_of(action), told, step=step, work=work)
    return [acted, *_send(decision.sendings, loaded, work=work)]


def _note(loaded: LoadedSaga, name: str, told: dict[str, str], *, step: str, work: UnitOfWork) -> Note:
    return Note(
        saga_id=loaded.state.id,
        direction="person",
        message_id=new_message_id(),
        type=name,
        step=step,
        body={key: value for key, value in told.items() if value},
        at=work.now,
    )


def _send(sendings: Iterable[Sending], loaded: LoadedSaga, *, work: UnitOfWork) -> list[Note]:
    sent = [outgoing(sending, loaded, cause=None, traceparent=None, now=work.now) for sending in sendings]
    work.outgoing += sent
    return [note_of(message, loaded) for message in sent]


def _save(sagas: Iterable[LoadedSaga], notes: Sequence[Note], work: UnitOfWork) -> None:
    moved = list(sagas)
    for statement in records.save_statements(moved, now=work.now):
        work.add_statement(statement)
    if notes:
        work.add_statement(records.note_statement(notes, now=work.now))
    keep_deadlines([loaded for loaded in moved if loaded.state != loaded.stored], work, {})


def permit(
    permission: str,
    action: str,
    subject: str,
    *,
    operator: Operator,
    reason: str,
    at: datetime,
    saga_id: UUID | None = None,
) -> None:
    """Raises `NotPermitted`, which is in the operators' log then, where the operator lacks the permission."""
    if operator.may(permission):
        return
    why = f"{operator.name} lacks the permission {permission}."
    desk_log.note_refusal(
        by=operator.name, action=action, subject=subject, at=at, why=why, reason=reason, saga_id=saga_id
    )
    raise NotPermitted(why)


def _permit(
    permission: str, name: str, ids: Sequence[UUID], *, operator: Operator, reason: str, at: datetime
) -> None:
    one = ids[0] if len(ids) == 1 else None
    subject = f"saga {one}" if one else f"{len(ids)} sagas"
    permit(permission, name, subject, operator=operator, reason=reason, at=at, saga_id=one)


def _check(action: Action, ids: Sequence[UUID], *, reason: str, evidence: str) -> None:
    if not ids:
        raise WrongRequest("No saga is meant: choose at least one.")
    if len(ids) > MOST_AT_ONCE:
        raise WrongRequest(
            f"{len(ids)} sagas are too many for one request: choose at most {MOST_AT_ONCE}, or set a pause switch."
        )
    if isinstance(action, NEEDS_A_REASON) and not reason.strip():
        raise WrongRequest("A reason is missing: say why, for those who read the log later.")
    if isinstance(action, NEEDS_EVIDENCE) and not evidence.strip():
        raise WrongRequest(
            "The evidence is missing: say how it was undone, such as the gateway's own reference."
        )


def _subject(loaded: LoadedSaga | None, wanted: UUID, action: Action | None) -> str:
    step = getattr(action, "step", "")
    named = f"saga {wanted}" if loaded is None else f"{loaded.name} {loaded.business_key}"
    return f"{named}, step {step}" if step else named


def _what_was_sent(decision: Decision | None, evidence: str) -> str:
    sendings = decision.sendings if decision is not None else ()
    sent = ", ".join(sending.command.wire_type for sending in sendings)
    said = f"sent {sent}" if sent else "nothing was sent"
    return f"{said}; evidence: {evidence}" if evidence else said
