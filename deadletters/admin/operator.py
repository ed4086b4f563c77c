"""Who stands at the desk, what he may do there, and the page that says why nothing was done."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.contrib.admin import site
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone

from deadletters import desk_log
from deadletters.admin.words import problem_of
from deadletters.collecting.amqp_values import readable
from deadletters.desk import PERMISSIONS, Kind, Operator
from deadletters.models import DeadLetter
from deadletters.permissions import SEE_PERSONAL_DATA
from eventstore.private_text import scrubbed

LONGEST_REASON = 500
"""Characters; what is typed beyond them is cut off, and fields take no more."""
VIEW_LETTERS = "deadletters.view_deadletter"
VIEW_JOBS = "deadletters.view_letterjob"
VIEW_EDITS = "deadletters.view_letteredit"
_GIVEN_TO = {
    PERMISSIONS[Kind.REPLAY]: "The groups Support and Operators have it.",
    PERMISSIONS[Kind.DISCARD]: "The group Operators has it.",
}
"""What the groups that come with the shop may do; everything else is given to people one by one."""


def seen_by(request: HttpRequest, text: str, *, known: Iterable[str] = ()) -> str:
    """The text of an exception as this person may read it; `known` are values about the customer of its message."""
    return text if request.user.has_perm(SEE_PERSONAL_DATA) else scrubbed(text, known=known)


def problem_seen_by(request: HttpRequest, letter: DeadLetter) -> str:
    """Why the letter died, where its body is not at hand: only that tells what an exception says of the customer."""
    if request.user.has_perm(SEE_PERSONAL_DATA) or not letter.exception:
        return problem_of(letter)
    return problem_of(letter).split(":", 1)[0]


def reason_in(request: HttpRequest) -> str:
    """Why, in the words of whoever has sent the form, as the log can keep them."""
    return readable(request.POST.get("reason", "").strip(), LONGEST_REASON)


def operator_of(request: HttpRequest) -> Operator:
    """Whoever is logged in."""
    return Operator(name=request.user.get_username(), may=request.user.has_perm)


def page(
    request: HttpRequest, template: str, context: dict[str, Any], *, status: int = HTTPStatus.OK
) -> TemplateResponse:
    """One of the desk's own pages."""
    return TemplateResponse(
        request,
        f"admin/deadletters/mending/{template}.html",
        {**site.each_context(request), **context},
        status=status,
    )


def said(
    request: HttpRequest,
    sentence: str,
    *,
    title: str,
    status: int = HTTPStatus.OK,
    then: str = "",
    links: list[tuple[str, str]] | None = None,
) -> TemplateResponse:
    """A page that only says something: what was found, and what to do about it. `links` are texts with addresses."""
    told = {"title": title, "sentence": sentence, "then": then, "links": links or []}
    return page(request, "said", told, status=status)


def forbidden(request: HttpRequest, permission: str, *, to: str, why: str = "") -> TemplateResponse:
    """Which permission is missing, and whom to ask for it; an empty one is none that could be given.

    What was asked for by POST is in the operators' log.
    """
    given = _GIVEN_TO.get(permission, "")
    then = (
        f"Ask whoever administers the users of this shop for the permission {permission}."
        if permission
        else ""
    )
    then = f"{then} {given}".strip()
    if request.method == "POST":
        then += " Nothing was changed, and this refusal is in the operators' log."
    return said(
        request,
        why or f"You may not {to}.",
        title="Not permitted",
        status=HTTPStatus.FORBIDDEN,
        then=then,
    )


def refuse(
    request: HttpRequest,
    permission: str,
    *,
    action: str,
    subject: str,
    to: str,
    why: str = "",
    letter_id: UUID | None = None,
    job_id: UUID | None = None,
) -> TemplateResponse:
    """Refuse here what never comes as far as the desk's own door; by POST it is an attempt, and written down."""
    if request.method == "POST":
        desk_log.note_refusal(
            by=request.user.get_username(),
            action=action,
            subject=subject,
            at=timezone.now(),
            why=why or f"It needs the permission {permission}.",
            reason=reason_in(request),
            letter_id=letter_id,
            job_id=job_id,
        )
    return forbidden(request, permission, to=to, why=why)
