"""The page where a letter's message is edited: check, see what was changed, then replay that instead."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone

from contracts.catalogue import MESSAGE_TYPES
from deadletters.admin.dry_runs import no_such_letter
from deadletters.admin.operator import (
    VIEW_LETTERS,
    forbidden,
    operator_of,
    page,
    reason_in,
    refuse,
    said,
)
from deadletters.editing import edits
from deadletters.editing.message_fields import fields_of
from deadletters.errors import DeadLetterError, InvalidEdit, NotPermitted
from deadletters.models import DeadLetter, LetterEdit
from deadletters.permissions import EDIT, SEE_PERSONAL_DATA, to_edit

FEWEST_ROWS, MOST_ROWS = 12, 40
"""Of the field in which the message is edited."""


def edit_letter(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    """GET and `check` change nothing; `replay` sends the edited message, or proposes it to a second person.

    What is refused by POST is in the operators' log, which `edits` writes.
    """
    letter = (
        DeadLetter.objects.only("id", "type", "message_id", "service", "state", "headers", "body")
        .filter(id=letter_id)
        .first()
    )
    if letter is None:
        return no_such_letter(request, letter_id)
    if not request.user.has_perm(VIEW_LETTERS):
        return refuse(
            request, VIEW_LETTERS, action="edit", subject=str(letter), to="edit it", letter_id=letter_id
        )
    if request.method == "POST":
        return _posted(request, letter)
    if not settings.LETTER_EDITING and _may_edit(request, letter):
        return _switched_off(request, letter)
    if (why := edits.why_not_edit(letter, operator=operator_of(request))) is not None:
        return forbidden(request, _lacking(request, letter), to="edit it", why=why)
    if letter.state != DeadLetter.State.OPEN:
        return _cannot(request, f"The letter is {letter.state}: only an open one can be edited.", letter)
    waiting = LetterEdit.objects.filter(letter=letter, state=LetterEdit.State.PROPOSED).first()
    if waiting is not None:
        return _waits(request, waiting)
    try:
        return _editor(request, letter, edits.text_of(letter))
    except InvalidEdit as error:
        return _cannot(request, str(error), letter)


def _posted(request: HttpRequest, letter: DeadLetter) -> HttpResponse:
    body, step, reason = request.POST.get("body", ""), request.POST.get("step", ""), reason_in(request)
    operator = operator_of(request)
    try:
        if step != "replay":
            changes = edits.check(letter.id, body, operator=operator)
            return _editor(request, letter, body, changes=None if step == "edit" else changes)
        if not reason:
            changes = edits.check(letter.id, body, operator=operator)
            return _editor(request, letter, body, changes=changes, problem="Say why you change the message.")
        edit = edits.edit(letter.id, body, operator=operator, reason=reason, at=timezone.now())
    except NotPermitted as error:
        return forbidden(request, _lacking(request, letter), to="edit it", why=str(error))
    except DeadLetterError as error:
        return _editor(request, letter, body, problem=str(error))
    if edit.state == LetterEdit.State.PROPOSED:
        messages.success(
            request, "Your edit is proposed. Nothing is sent before a second person approves it."
        )
    else:
        messages.success(request, "The edited message is sent. The letter closes when it has been handled.")
    return redirect("admin:deadletters_letteredit_change", edit.id)


def _editor(
    request: HttpRequest,
    letter: DeadLetter,
    body: str,
    *,
    changes: list[edits.FieldChange] | None = None,
    problem: str = "",
) -> HttpResponse:
    message_type = MESSAGE_TYPES.get(letter.type)
    context: dict[str, Any] = {
        "title": "Edit and replay",
        "letter": letter,
        "body": body,
        "rows": min(MOST_ROWS, max(FEWEST_ROWS, body.count("\n") + 2)),
        "fields": fields_of(message_type) if message_type else [],
        "changes": changes,
        "problem": problem,
        "reason": reason_in(request),
        "needs_approval": settings.LETTER_EDITS_NEED_APPROVAL,
        "back": reverse("admin:deadletters_deadletter_change", args=[letter.id]),
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK
    return page(request, "edit", context, status=status)


def _may_edit(request: HttpRequest, letter: DeadLetter) -> bool:
    return all(request.user.has_perm(name) for name in (EDIT, to_edit(letter.type)))


def _lacking(request: HttpRequest, letter: DeadLetter) -> str:
    """The permission to ask for: of those that editing this letter needs, the first that is missing.

    None where editing is switched off: then no permission helps.
    """
    if not settings.LETTER_EDITING:
        return ""
    needed = (EDIT, to_edit(letter.type))
    return next((name for name in needed if not request.user.has_perm(name)), SEE_PERSONAL_DATA)


def _switched_off(request: HttpRequest, letter: DeadLetter) -> HttpResponse:
    return said(
        request,
        "Editing dead letters is switched off in this shop.",
        title="Editing is off",
        status=HTTPStatus.NOT_FOUND,
        then="Whoever runs the shop switches it on by the setting LETTER_EDITING=true, and starts the web process "
        "anew. With LETTER_EDITS_NEED_APPROVAL=true a second person has to approve each edit.",
        links=[("Back to the letter", reverse("admin:deadletters_deadletter_change", args=[letter.id]))],
    )


def _waits(request: HttpRequest, waiting: LetterEdit) -> HttpResponse:
    return said(
        request,
        f"An edit of this letter by {waiting.proposed_by} waits for a second person.",
        title="It is edited already",
        status=HTTPStatus.CONFLICT,
        then="Another one is possible when that is approved or declined.",
        links=[("Look at it", reverse("admin:deadletters_letteredit_change", args=[waiting.id]))],
    )


def _cannot(request: HttpRequest, sentence: str, letter: DeadLetter) -> HttpResponse:
    return said(
        request,
        sentence,
        title="It cannot be edited",
        status=HTTPStatus.CONFLICT,
        then="Nothing was changed.",
        links=[("Back to the letter", reverse("admin:deadletters_deadletter_change", args=[letter.id]))],
    )
