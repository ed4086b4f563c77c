"""The page of a dry run: what the installed handler would do with a letter. Nothing of it is kept."""

from http import HTTPStatus
from itertools import islice
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone

from deadletters import desk_log
from deadletters.admin.letter_body import MOST_VALUES
from deadletters.admin.operator import VIEW_LETTERS, operator_of, page, refuse, said, seen_by
from deadletters.collecting.reading import message_in
from deadletters.desk import PERMISSIONS, Kind
from deadletters.errors import DeadLetterError, Unreplayable
from deadletters.models import DeadLetter
from deadletters.permissions import SEE_PERSONAL_DATA
from deadletters.rehearsals.dry_runs import DryRun, dry_run
from eventstore.admin_columns import Tone
from eventstore.admin_privacy import masked, private_values
from eventstore.private_text import scrubbed

REPLAY = PERMISSIONS[Kind.REPLAY]
"""Who may send a letter again may try it."""


def show_dry_run(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    """POST runs it; an address that is opened only leads back to the letter."""
    if request.method != "POST":
        return redirect("admin:deadletters_deadletter_change", letter_id)
    operator, now = operator_of(request), timezone.now()
    letter = (
        DeadLetter.objects.only("id", "type", "message_id", "headers", "body").filter(id=letter_id).first()
    )
    if lacking := [name for name in (REPLAY, VIEW_LETTERS) if not operator.may(name)]:
        return refuse(
            request,
            lacking[0],
            action="dry run",
            subject=str(letter or letter_id),
            to="try dead letters in a dry run",
            letter_id=letter_id,
        )
    if letter is None:
        return no_such_letter(request, letter_id)
    back = reverse("admin:deadletters_deadletter_change", args=[letter_id])
    try:
        run = dry_run(letter_id)
    except DeadLetterError as error:
        return said(
            request,
            str(error),
            title="It cannot be tried",
            status=HTTPStatus.UNPROCESSABLE_ENTITY,
            then="Nothing was changed or sent.",
            links=[("Back to the letter", back)],
        )
    known = _private(letter)
    desk_log.note(
        by=operator.name,
        action="dry run",
        subject=str(letter),
        at=now,
        detail=scrubbed(run.verdict, known=known),  # who reads the log may not be one to read of customers
        letter_id=letter_id,
    )
    is_hidden = not operator.may(SEE_PERSONAL_DATA)
    badge, tone = _verdict(run)
    context: dict[str, Any] = {
        "title": "Dry run",
        "badge": badge,
        "tone": tone.value,
        "letter": letter,
        "run": run,
        "verdict": seen_by(request, run.verdict, known=known),
        "exception": seen_by(request, run.exception, known=known),
        "traceback": seen_by(request, run.traceback, known=known),
        "told": [(told, masked(told.body) if is_hidden else told.body) for told in run.told],
        "calls": [(call, masked(call.request) if is_hidden else call.request) for call in run.gateway_calls],
        "is_hidden": is_hidden,
        "back": back,
        "again": reverse("admin:deadletters_dry_run", args=[letter_id]),
        "replay": f"{reverse('admin:deadletters_act', args=['replay'])}?ids={letter_id}",
    }
    return page(request, "dry_run", context)


def _verdict(run: DryRun) -> tuple[str, Tone]:
    """The verdict in two words; one that could not be tried, or whose end is open, has neither failed nor succeeded."""
    if run.would_succeed:
        return "would succeed", Tone.GOOD
    if not run.is_tried:
        return "not tried", Tone.WAITING
    if run.is_same_failure:
        return "would fail again", Tone.BAD
    return ("would fail", Tone.BAD) if run.exception else ("not known", Tone.WAITING)


def _private(letter: DeadLetter) -> list[str]:
    """What the letter's message says of the customer: an exception may say it again."""
    try:
        _, message = message_in(letter.headers, bytes(letter.body))
    except Unreplayable:
        return []
    return list(islice(private_values(message), MOST_VALUES))


def no_such_letter(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    return said(
        request,
        f"There is no dead letter {letter_id}.",
        title="No such letter",
        status=HTTPStatus.NOT_FOUND,
        then="A letter that is closed is pruned after some months.",
        links=[("All dead letters", reverse("admin:deadletters_deadletter_changelist"))],
    )
