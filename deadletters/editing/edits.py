"""Editing a dead letter's message and replaying that instead.

The edited message has an id of its own, and everything else of the envelope as it was, above all the idempotency key:
that names the effect, which must not happen twice whatever the message says. See docs/adr/0019-edit-and-replay.md.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NoReturn
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import Error, connections

from deadletters import desk_log, statements
from deadletters.collecting.reading import message_in
from deadletters.desk import Operator
from deadletters.editing.changes import FieldChange, changes, check_edit, parsed
from deadletters.errors import InvalidEdit, NotPermitted, ReasonMissing, Unreplayable, WrongMove
from deadletters.models import DeadLetter, LetterAction, LetterEdit
from deadletters.outgoing import SERVICE, body_of, replay_of
from deadletters.permissions import APPROVE, EDIT, SEE_PERSONAL_DATA, to_edit
from deadletters.statements import answers
from eventstore.admin_privacy import masked
from messaging.database import is_away
from messaging.envelope import new_message_id, utc_now
from messaging.unit_of_work import UnitOfWork, unit_of_work

__all__ = [
    "FieldChange",
    "approve",
    "changes",
    "check",
    "decline",
    "edit",
    "text_of",
    "why_not_approve",
    "why_not_decline",
    "why_not_edit",
]

_STATE_OF_KEY = "SELECT state FROM messaging_idempotencykey WHERE consumer = %s AND key = %s"


class _Checked(msgspec.Struct, frozen=True):
    before: dict[str, Any]
    after: dict[str, Any]
    changes: list[FieldChange]


def text_of(letter: DeadLetter) -> str:
    """The letter's message as JSON to begin editing with; raises `InvalidEdit` where it has none that can be read."""
    _, payload = _message_of(letter)
    return msgspec.json.format(msgspec.json.encode(payload), indent=2).decode()


def check(letter_id: UUID, body: str, *, operator: Operator) -> list[FieldChange]:
    """What this body would change. Raises `InvalidEdit` naming field and value, or `NotPermitted`."""
    letter = _letter(letter_id)
    _permit_editing(letter, operator=operator, reason="", at=utc_now())
    return _checked(letter, parsed(body)).changes


def edit(letter_id: UUID, body: str, *, operator: Operator, reason: str, at: datetime) -> LetterEdit:
    """Replay the letter with this body, or propose it where a second person has to approve.

    Raises `NotPermitted`, `ReasonMissing` or `InvalidEdit`; then nothing is sent, and the operators' log says why.
    """
    letter = _letter(letter_id)
    _permit_editing(letter, operator=operator, reason=reason, at=at)
    with _refusals_noted(letter, "edit", operator=operator, reason=reason, at=at):
        _need(reason, "Say why the message is changed: what was sent is then not what came.")
        checked = _checked(letter, parsed(body))
        with unit_of_work(SERVICE) as work:
            _lock_open(letter)
            proposed = LetterEdit.objects.filter(letter=letter, state=LetterEdit.State.PROPOSED).first()
            if proposed is not None:
                raise InvalidEdit(
                    f"An edit by {proposed.proposed_by} waits for a second person: have it approved or declined first."
                )
            made = LetterEdit(
                id=new_message_id(),
                letter=letter,
                state=LetterEdit.State.PROPOSED,
                before=checked.before,
                after=checked.after,
                message_id=new_message_id(),
                proposed_by=operator.name,
                proposed_at=at,
                reason=reason,
            )
            if settings.LETTER_EDITS_NEED_APPROVAL:
                made.save(force_insert=True)
                _act(letter, LetterAction.Kind.PROPOSED, by=operator.name, reason=reason, at=at)
                _note(letter, "propose", checked, operator=operator, reason=reason, at=at)
            else:
                made.replay_id = _send(made, letter, by=operator.name, reason=reason, at=at, work=work)
                made.state, made.decided_by, made.decided_at = LetterEdit.State.SENT, operator.name, at
                made.save(force_insert=True)
                _note(letter, "edit", checked, operator=operator, reason=reason, at=at)
    return made


def approve(edit_id: UUID, *, operator: Operator, reason: str, at: datetime) -> LetterEdit:
    """Send what somebody else has proposed, if the letter is still open and the message still fits.

    Raises `NotPermitted`, `InvalidEdit`, or `WrongMove` where it is decided already.
    """
    proposal = _edit(edit_id)
    letter = proposal.letter
    why = why_not_approve(proposal, operator=operator)
    if why is not None:
        _refuse(letter, "approve", why, operator=operator, reason=reason, at=at)
    with _refusals_noted(letter, "approve", operator=operator, reason=reason, at=at):
        checked = _checked(letter, proposal.after)
        with unit_of_work(SERVICE) as work:
            _lock_open(letter)
            decided = _lock_proposed(edit_id)
            said = f"{proposal.reason} (proposed by {proposal.proposed_by})"
            if reason:
                said += f"; approved: {reason}"
            decided.replay_id = _send(decided, letter, by=operator.name, reason=said, at=at, work=work)
            _decide(decided, LetterEdit.State.SENT, by=operator.name, at=at)
            _note(letter, "approve", checked, operator=operator, reason=reason, at=at)
    return decided


def decline(edit_id: UUID, *, operator: Operator, reason: str, at: datetime) -> LetterEdit:
    """Say no to an edit, or take back one's own. The letter stays as it is, and nothing is sent.

    Raises `NotPermitted`, `ReasonMissing`, or `WrongMove` where it is decided already.
    """
    proposal = _edit(edit_id)
    letter = proposal.letter
    why = why_not_decline(proposal, operator=operator)
    if why is not None:
        _refuse(letter, "decline", why, operator=operator, reason=reason, at=at)
    with _refusals_noted(letter, "decline", operator=operator, reason=reason, at=at):
        _need(reason, "Say why it is declined: whoever proposed it reads that.")
        with unit_of_work(SERVICE):
            DeadLetter.objects.select_for_update().only("id").get(id=letter.id)
            decided = _lock_proposed(edit_id)
            _decide(decided, LetterEdit.State.DECLINED, by=operator.name, at=at)
            _act(letter, LetterAction.Kind.DECLINED, by=operator.name, reason=reason, at=at)
            _note(letter, "decline", None, operator=operator, reason=reason, at=at)
    return decided


def _send(
    made: LetterEdit, letter: DeadLetter, *, by: str, reason: str, at: datetime, work: UnitOfWork
) -> UUID:
    """Begin a replay of the locked, open letter with the edited message; returns its id."""
    replay_id = new_message_id()
    message = replay_of(
        service=letter.service,
        headers=letter.headers,
        body=body_of(made.after),
        deaths=letter.deaths,
        replay_id=replay_id,
        available_at=at,
        message_id=made.message_id,
    )
    work.outgoing.append(message)
    begun = statements.begin_replays(
        [(letter.id, replay_id)], by=by, reason=reason, at=at, due=[at], is_edited=True
    )
    assert answers(begun) == [(letter.id,)]
    return replay_id


def _checked(letter: DeadLetter, after: dict[str, Any]) -> _Checked:
    """The edit, if the letter as it is now may be edited so. Asks the service's database for the message's key."""
    if letter.state != DeadLetter.State.OPEN:
        raise InvalidEdit(f"The letter is {letter.state}; only an open one can be edited.")
    envelope, before = _message_of(letter)
    changed = check_edit(
        wire_type=envelope.type, correlation_id=envelope.correlation_id, before=before, after=after
    )
    state = _state_of_key(letter.service, envelope.idempotency_key)
    if state == "started":
        raise InvalidEdit(
            f"{letter.service} has begun to ask a gateway for this message and nobody knows whether it was done, so it "
            "must be asked the same again. Replay the letter as it is."
        )
    if state is not None:
        raise InvalidEdit(
            f"{letter.service} has handled this message already, or undone it: an edited one would not be handled. "
            "Replay the letter as it is, and it closes."
        )
    return _Checked(before, after, changed)


def _state_of_key(service: str, key: str) -> str | None:
    database = settings.SERVICES.get(service)
    if database is None:
        raise InvalidEdit(f"This release has no service {service!r} that the message could be sent to.")
    try:
        with connections[database].cursor() as cursor:
            cursor.execute(_STATE_OF_KEY, [service, key])
            row = cursor.fetchone()
    except Error as error:
        if not is_away(error, database=database):
            raise
        if not connections[database].in_atomic_block:
            connections[database].close()
        raise InvalidEdit(
            f"The database of {service} does not answer, so nobody can tell whether a gateway was asked already. "
            "Try again when it is back."
        ) from error
    return None if row is None else str(row[0])


def _message_of(letter: DeadLetter) -> Any:
    try:
        return message_in(letter.headers, bytes(letter.body))
    except Unreplayable as error:
        raise InvalidEdit(f"There is no message that could be edited. {error}") from error


def _permit_editing(letter: DeadLetter, *, operator: Operator, reason: str, at: datetime) -> None:
    why = why_not_edit(letter, operator=operator)
    if why is not None:
        _refuse(letter, "edit", why, operator=operator, reason=reason, at=at)


def why_not_edit(letter: DeadLetter, *, operator: Operator) -> str | None:
    """Why this person may not edit this letter; None where he may. Nothing is written down."""
    if not settings.LETTER_EDITING:
        return "Editing is switched off: LETTER_EDITING is false."
    for permission in (EDIT, to_edit(letter.type)):
        if not operator.may(permission):
            return _lacks(operator, permission)
    if not operator.may(SEE_PERSONAL_DATA):
        try:
            _, payload = message_in(letter.headers, bytes(letter.body))
        except Unreplayable:
            return None  # said of the letter itself, to whoever may ask
        if masked(payload) != payload:
            return (
                f"{_lacks(operator, SEE_PERSONAL_DATA)} The message holds data about a customer or a payment token: "
                "who does not see them would write over them, or come to see them."
            )
    return None


def why_not_decline(proposal: LetterEdit, *, operator: Operator) -> str | None:
    """Why this person may not decline this edit, or take his own back; None where he may. Nothing is written down."""
    may = operator.name == proposal.proposed_by or operator.may(APPROVE)
    return None if may else _lacks(operator, APPROVE)


def why_not_approve(proposal: LetterEdit, *, operator: Operator) -> str | None:
    """Why this person may not approve this edit; None where he may. Nothing is written down."""
    if not settings.LETTER_EDITING:
        return "Editing is switched off: LETTER_EDITING is false."
    for permission in (APPROVE, to_edit(proposal.letter.type)):
        if not operator.may(permission):
            return _lacks(operator, permission)
    if operator.name == proposal.proposed_by:
        return f"{operator.name} has proposed it: a second person has to approve it."
    shown = changes(masked(proposal.before), masked(proposal.after))
    if not operator.may(SEE_PERSONAL_DATA) and shown != changes(proposal.before, proposal.after):
        return (
            f"{_lacks(operator, SEE_PERSONAL_DATA)} The edit changes data about a customer or a payment token, and "
            "nobody approves what he does not see."
        )
    return None


def _lacks(operator: Operator, permission: str) -> str:
    return f"{operator.name} may not do this: the permission {permission} is missing."


def _refuse(
    letter: DeadLetter, action: str, why: str, *, operator: Operator, reason: str, at: datetime
) -> NoReturn:
    _note_refusal(letter, action, why, operator=operator, reason=reason, at=at)
    raise NotPermitted(why)


@contextmanager
def _refusals_noted(
    letter: DeadLetter, action: str, *, operator: Operator, reason: str, at: datetime
) -> Iterator[None]:
    """Write down why what is done inside could not be done. The log names no values, which may be personal."""
    try:
        yield
    except (InvalidEdit, WrongMove) as error:
        why = error.noted if isinstance(error, InvalidEdit) else str(error)
        _note_refusal(letter, action, why, operator=operator, reason=reason, at=at)
        raise


def _note_refusal(
    letter: DeadLetter, action: str, why: str, *, operator: Operator, reason: str, at: datetime
) -> None:
    desk_log.note_refusal(
        by=operator.name,
        action=action,
        subject=str(letter),
        at=at,
        why=why,
        reason=reason,
        letter_id=letter.id,
    )


def _note(
    letter: DeadLetter,
    action: str,
    checked: _Checked | None,
    *,
    operator: Operator,
    reason: str,
    at: datetime,
) -> None:
    detail = "" if checked is None else f"changed: {', '.join(each.path for each in checked.changes)}"[:1000]
    desk_log.note(
        by=operator.name,
        action=action,
        subject=str(letter),
        at=at,
        reason=reason,
        detail=detail,
        letters=1 if action != "propose" and checked is not None else 0,
        letter_id=letter.id,
    )


def _act(letter: DeadLetter, kind: LetterAction.Kind, *, by: str, reason: str, at: datetime) -> None:
    LetterAction.objects.create(letter=letter, kind=kind, by=by, at=at, reason=reason)


def _decide(made: LetterEdit, state: LetterEdit.State, *, by: str, at: datetime) -> None:
    made.state, made.decided_by, made.decided_at = state, by, at
    made.save(update_fields=["state", "decided_by", "decided_at", "replay"])


def _letter(letter_id: UUID) -> DeadLetter:
    letter = DeadLetter.objects.filter(id=letter_id).first()
    if letter is None:
        raise InvalidEdit(f"There is no dead letter {letter_id}.")
    return letter


def _edit(edit_id: UUID) -> LetterEdit:
    proposal = LetterEdit.objects.select_related("letter").filter(id=edit_id).first()
    if proposal is None:
        raise WrongMove(f"There is no edit {edit_id}.")
    return proposal


def _lock_open(letter: DeadLetter) -> None:
    """Hold the letter until the transaction ends; whoever else moves it comes before or after."""
    state = DeadLetter.objects.select_for_update().values_list("state", flat=True).get(id=letter.id)
    if state != DeadLetter.State.OPEN:
        raise InvalidEdit(f"The letter is {state} meanwhile; only an open one can be edited.")


def _lock_proposed(edit_id: UUID) -> LetterEdit:
    made = LetterEdit.objects.select_for_update(of=("self",)).get(id=edit_id)
    if made.state != LetterEdit.State.PROPOSED:
        raise WrongMove(f"The edit is {made.state} already, by {made.decided_by}.")
    return made


def _need(reason: str, why: str) -> None:
    if not reason.strip():
        raise ReasonMissing(why)
