"""The page where a letter's message is edited: check, see what was changed, then replay that instead."""

import json
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
from deadletters import edits
from deadletters.admin_dry_runs import no_such_letter
from deadletters.admin_operator import EDIT, SEE_PERSONAL_DATA, forbidden, operator_of, page, refuse, said
from deadletters.desk import Operator
from deadletters.errors import DeadLetterError, NotPermitted, Unreplayable
from deadletters.message_fields import fields_of
from deadletters.models import DeadLetter, LetterEdit
from deadletters.permissions import to_edit
from deadletters.reading import message_in
from eventstore.admin_privacy import masked

FEWEST_ROWS, MOST_ROWS = 12, 40
"""Of the field in which the message is edited."""


def edit_letter(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    """GET and `check` change nothing; `replay` sends the edited message, or proposes it to a second person."""
    letter = (
        DeadLetter.objects.only("id", "type", "message_id", "service", "state", "headers", "body")
        .filter(id=letter_id)
        .first()
    )
    if (refusal := _refusal(request, letter, letter_id)) is not None:
        return refusal
    assert letter is not None
    back = reverse("admin:deadletters_deadletter_change", args=[letter_id])
    try:
        _, message = message_in(letter.headers, bytes(letter.body))
    except Unreplayable as error:
        return _cannot(request, str(error), back)
    if not request.user.has_perm(SEE_PERSONAL_DATA) and masked(message) != message:
        return _hidden(request, letter)
    if letter.state != DeadLetter.State.OPEN:
        return _cannot(request, f"The letter is {letter.state}: only an open one can be edited.", back)
    if request.method != "POST":
        return _editor(request, letter, json.dumps(message, indent=2, ensure_ascii=False))
    return _posted(request, letter)


def _posted(request: HttpRequest, letter: DeadLetter) -> HttpResponse:
    body, step, reason = (request.POST.get(name, "") for name in ("body", "step", "reason"))
    if step == "edit":
        return _editor(request, letter, body)
    operator = operator_of(request)
    try:
        changes = edits.check(letter.id, body, operator=operator)
        if step != "replay":
            return _editor(request, letter, body, changes=changes)
        if not reason.strip():
            return _editor(request, letter, body, changes=changes, problem="Say why you change the message.")
        edit = edits.edit(letter.id, body, operator=operator, reason=reason.strip(), at=timezone.now())
    except NotPermitted as error:
        return forbidden(request, EDIT, to="edit this letter", why=str(error))
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
        "reason": request.POST.get("reason", ""),
        "needs_approval": settings.LETTER_EDITS_NEED_APPROVAL,
        "back": reverse("admin:deadletters_deadletter_change", args=[letter.id]),
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK
    return page(request, "edit", context, status=status)


def _refusal(request: HttpRequest, letter: DeadLetter | None, letter_id: UUID) -> HttpResponse | None:
    """Why this person gets no editor for this letter; None where he does."""
    operator = operator_of(request)
    needed = EDIT if letter is None else _permission_lacking(letter.type, operator)
    if needed and not (letter is None and operator.may(EDIT)):
        return refuse(
            request,
            needed,
            action="edit",
            subject=str(letter or letter_id),
            to="edit this dead letter",
            letter_id=letter_id,
        )
    if not settings.LETTER_EDITING:
        return said(
            request,
            "Editing dead letters is switched off in this shop.",
            title="Editing is off",
            status=HTTPStatus.NOT_FOUND,
            then="Whoever runs the shop switches it on by the setting LETTER_EDITING=true, and starts the web process "
            "anew. LETTER_EDITS_NEED_APPROVAL=true has a second person approve each edit.",
            links=[("Back to the letter", reverse("admin:deadletters_deadletter_change", args=[letter_id]))],
        )
    return no_such_letter(request, letter_id) if letter is None else None


def _hidden(request: HttpRequest, letter: DeadLetter) -> HttpResponse:
    """Who may not read what is said of a customer would write over it unseen."""
    return refuse(
        request,
        SEE_PERSONAL_DATA,
        action="edit",
        subject=str(letter),
        to="edit it",
        why="This message holds a payment token or what is said of a customer, which you may not read; so you cannot "
        "edit it either.",
        letter_id=letter.id,
    )


def _cannot(request: HttpRequest, sentence: str, back: str) -> HttpResponse:
    return said(
        request,
        sentence,
        title="It cannot be edited",
        status=HTTPStatus.CONFLICT,
        then="Nothing was changed.",
        links=[("Back to the letter", back)],
    )


def _permission_lacking(wire_type: str, operator: Operator) -> str:
    """The first of the two permissions that this person lacks; empty where he has both."""
    return next((name for name in (EDIT, to_edit(wire_type)) if not operator.may(name)), "")
