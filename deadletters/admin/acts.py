"""Replay, discard and restore: one page that says how many letters and what will happen, before anything does."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings
from django.contrib import messages
from django.db import IntegrityError
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.text import Truncator

from deadletters import desk, tallies
from deadletters.admin.act_form import ActForm
from deadletters.admin.act_words import ActWords, plan, words_of
from deadletters.admin.addresses import JOB, LETTER, LETTERS, letters_address
from deadletters.admin.operator import (
    VIEW_LETTERS,
    forbidden,
    operator_of,
    page,
    problem_seen_by,
    refuse,
    said,
)
from deadletters.admin.words import type_of
from deadletters.errors import DeadLetterError, NotPermitted, WrongFilter
from deadletters.filtering import NAMES, LetterFilter
from deadletters.models import DeadLetter, LetterGroup, LetterJob
from deadletters.services import Outcome
from messaging.envelope import new_message_id

MOST_LISTED = 10
"""Letters that are listed before an action; the others are counted."""
MOST_BROKEN_DOWN = 10_000
"""More letters than these are not counted by group: the page would wait for it."""
MOST_KINDS = 10
"""Rows of the table that says of which group and service the letters are."""
MOST_REASONS = 5
"""Refusals that are told one by one after an action; the others are counted."""
TYPED_FROM = 100
"""Of more letters than these, the number has to be typed."""


class Meant(msgspec.Struct, frozen=True, kw_only=True):
    """The letters that are meant, and those of them that are in the state to be acted on."""

    chosen: LetterFilter
    able: LetterFilter
    letters: QuerySet[DeadLetter]
    """Those that `able` means: it is applied once, for a text costs a statement each time."""
    count: tallies.Counted
    others: int
    """Letters that match, and stay as they are for their state."""


def act(request: HttpRequest, kind: str) -> HttpResponse:
    """GET asks, whatever it is asked with; POST does what was confirmed."""
    if kind not in LetterJob.Kind.values:
        known = ", ".join(LetterJob.Kind.values)
        return said(
            request,
            f"There is no {kind!r} for dead letters.",
            title="No such page",
            status=HTTPStatus.NOT_FOUND,
            then=f"Choose one of {known}.",
        )
    words = words_of(LetterJob.Kind(kind))
    try:
        chosen = _asked_for(request)
    except WrongFilter as error:
        return said(
            request,
            str(error),
            title="These letters cannot be found",
            status=HTTPStatus.BAD_REQUEST,
            then="Nothing was done. Go back to the list, and choose the letters there.",
            links=[("All dead letters", reverse(LETTERS))],
        )
    # The page that asks shows letters, so it is for whoever may view them.
    lacking = [name for name in (words.permission, VIEW_LETTERS) if not request.user.has_perm(name)]
    if lacking:
        return refuse(
            request,
            lacking[0],
            action=kind,
            subject=desk.described(chosen),
            to=f"{kind} dead letters",
            letter_id=chosen.ids[0] if len(chosen.ids) == 1 else None,
        )
    meant = _meant(chosen, words)
    if not meant.count.number:
        return _nothing(request, words, meant)
    return _confirmed(request, words, meant) if request.method == "POST" else _ask(request, words, meant)


def _asked_for(request: HttpRequest) -> LetterFilter:
    """The letters in the address. What is no filter's is refused here: a slip of the pen must not mean all letters."""
    if unknown := sorted(set(request.GET) - set(NAMES)):
        raise WrongFilter(f"{unknown[0]!r} is no filter of dead letters; there are {', '.join(NAMES)}.")
    if doubled := [name for name in request.GET if len(request.GET.getlist(name)) > 1]:
        raise WrongFilter(f"{doubled[0]} is given twice; give it once.")
    return LetterFilter.from_query(request.GET.dict())


def _meant(chosen: LetterFilter, words: ActWords) -> Meant:
    able = msgspec.structs.replace(chosen, state=words.needs.value)
    letters = able.apply(DeadLetter.objects.all())
    if chosen.state == words.needs:
        return Meant(
            chosen=chosen, able=able, letters=letters, count=tallies.count(able, meant=letters), others=0
        )
    everything = tallies.count(chosen)
    count = tallies.Counted(number=0, is_exact=True) if chosen.state else tallies.count(able, meant=letters)
    others = everything.number - count.number if everything.is_exact and count.is_exact else 0
    return Meant(chosen=chosen, able=able, letters=letters, count=count, others=max(0, others))


def _nothing(request: HttpRequest, words: ActWords, meant: Meant) -> HttpResponse:
    then = (
        f"{meant.others} letter{'s' if meant.others != 1 else ''} would match, but only letters that are "
        f"{words.needs.value} can be {words.done}."
        if meant.others
        else "Perhaps somebody else has seen to them already, or they were handled meanwhile."
    )
    return said(
        request,
        f"There is nothing to {words.kind}: no {meant.able.describe()}.",
        title=f"Nothing to {words.kind}",
        then=then,
        links=[("Back to the letters", letters_address(meant.chosen))],
    )


def _described(meant: Meant, groups: Sequence[dict[str, Any]]) -> str:
    if meant.able.ids:
        return ""
    if meant.able.fingerprint and groups:  # which are of the one group then, so it need not be asked for
        return meant.able.describe(group=groups[0]["words"])
    return desk.described(meant.able)


def _ask(request: HttpRequest, words: ActWords, meant: Meant, form: ActForm | None = None) -> HttpResponse:
    form = form or _form(words, meant)
    number, is_exact = meant.count.number, meant.count.is_exact
    is_one = number == 1 and is_exact
    groups = _groups(meant)
    letters = _first_letters(request, meant)
    context = {
        "title": f"{words.kind.capitalize()} {'a dead letter' if is_one else 'dead letters'}",
        "words": words,
        "how_many": f"{number}" if is_exact else f"more than {number}",
        "is_one": is_one,
        "described": _described(meant, groups),
        "others": meant.others,
        "plan": plan(number, ramp=settings.REPLAY_RAMP, is_exact=is_exact),
        "rate": settings.REPLAY_RATE,
        "is_at_once": words.is_at_once(meant.count),
        "groups": groups[:MOST_KINDS],
        "groups_left_out": max(0, len(groups) - MOST_KINDS),
        "different_groups": len({row["group"] for row in groups}),
        "are_groups_unknown": not groups and not meant.able.fingerprint,
        "of_sagas": sum(row["of_sagas"] for row in groups),
        "letters": letters,
        "more": max(0, number - len(letters)),
        "form": form,
        "number": number,
        "is_exact": is_exact,
        "now": timezone.now(),
        "job_id": form.the_job_id or new_message_id(),
        "back": letters_address(meant.chosen),
    }
    status = HTTPStatus.OK if not form.errors else HTTPStatus.UNPROCESSABLE_ENTITY
    return page(request, "act", context, status=status)


def _form(words: ActWords, meant: Meant, data: Any = None) -> ActForm:
    return ActForm(
        data,
        words=words,
        count=meant.count,
        has_to_be_typed=meant.count.number > TYPED_FROM,
        now=timezone.now(),
    )


def _confirmed(request: HttpRequest, words: ActWords, meant: Meant) -> HttpResponse:
    form = _form(words, meant, request.POST)
    if not form.is_valid():
        return _ask(request, words, meant, form)
    job_id: UUID = form.cleaned_data["job_id"]
    if LetterJob.objects.filter(id=job_id).exists():  # the form was sent twice
        return redirect(JOB, job_id)
    try:
        acted = desk.act(
            words.kind,
            meant.chosen,
            operator=operator_of(request),
            reason=form.cleaned_data["reason"],
            at=timezone.now(),
            begins_at=form.cleaned_data.get("begins_at"),
            rate=form.cleaned_data.get("rate"),
            job_id=job_id,
        )
    except NotPermitted as error:
        return forbidden(request, words.permission, to=f"{words.kind} dead letters", why=str(error))
    except IntegrityError:
        if LetterJob.objects.filter(id=job_id).exists():  # sent twice at the same time
            return redirect(JOB, job_id)
        raise
    except DeadLetterError as error:
        form.add_error(None, str(error))
        return _ask(request, words, meant, form)
    if acted.job_id is not None:
        return redirect(JOB, acted.job_id)
    _tell(request, words, acted.outcome or Outcome(done=[], refused={}))
    if len(meant.chosen.ids) == 1:
        return redirect(LETTER, meant.chosen.ids[0])
    return redirect(letters_address(meant.chosen))


def _tell(request: HttpRequest, words: ActWords, outcome: Outcome) -> None:
    if outcome.done:
        number = len(outcome.done)
        letters = "1 dead letter" if number == 1 else f"{number} dead letters"
        messages.success(request, f"{letters} {words.done}.")
    refused = list(outcome.refused.items())
    for letter_id, why in refused[:MOST_REASONS]:
        messages.warning(request, f"Letter {letter_id} stays as it is. {why}")
    if len(refused) > MOST_REASONS:
        messages.warning(request, f"{len(refused) - MOST_REASONS} more letters stay as they are.")


def _groups(meant: Meant) -> list[dict[str, Any]]:
    """How many letters of which group died in which service, most first; nothing where there are too many letters."""
    if meant.count.number > MOST_BROKEN_DOWN or not meant.count.is_exact:
        return []
    rows = (
        meant.letters.values("group_id", "group__type", "group__exception_class", "group__frame", "service")
        .annotate(number=Count("id"), of_sagas=Count("saga_id"))
        .order_by("-number")
    )
    return [
        {
            "group": row["group_id"],
            "words": str(
                LetterGroup(
                    type=row["group__type"],
                    exception_class=row["group__exception_class"],
                    frame=row["group__frame"],
                )
            ),
            "service": row["service"],
            "number": row["number"],
            "of_sagas": row["of_sagas"],
        }
        for row in rows
    ]


def _first_letters(request: HttpRequest, meant: Meant) -> list[dict[str, Any]]:
    found = meant.letters.only(
        "id", "type", "service", "correlation_id", "exception", "reason", "is_failure_known", "died_at"
    )
    return [
        {
            "id": letter.id,
            "type": type_of(letter),
            "service": letter.service,
            "order": letter.correlation_id,
            "problem": Truncator(problem_seen_by(request, letter)).chars(120),
            "died_at": letter.died_at,
        }
        for letter in found.order_by("-died_at", "-id")[:MOST_LISTED]
    ]
