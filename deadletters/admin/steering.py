"""Pause, resume and cancel a bulk job: what cannot be taken back is asked about first."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from uuid import UUID

import msgspec
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone

from deadletters import desk
from deadletters.admin.act_words import words_of
from deadletters.admin.operator import (
    VIEW_JOBS,
    forbidden,
    operator_of,
    page,
    reason_in,
    refuse,
    said,
    seen_by,
)
from deadletters.errors import DeadLetterError, NotPermitted, WrongMove
from deadletters.models import LetterJob

State = LetterJob.State


class Verb(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that can be done with a job, from which states, and in which of them a page asks for the reason."""

    name: str
    do: Callable[..., None]
    possible: tuple[State, ...]
    asks: tuple[State, ...]
    consequences: str
    done: str
    is_dangerous: bool = False


VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            name="pause",
            do=lambda *args, **kwargs: desk.pause(*args, **kwargs),
            possible=(State.RUNNING,),
            asks=(),
            consequences="It takes no more letters until somebody resumes it. What it has taken goes on.",
            done="The job is paused.",
        ),
        Verb(
            name="resume",
            do=lambda *args, **kwargs: desk.resume(*args, **kwargs),
            possible=(State.PAUSED, State.STOPPED),
            asks=(State.STOPPED,),
            consequences="It goes on with the letters that are left. One that had stopped by itself climbs its ramp "
            "anew: what came back before is forgiven, and when one more letter comes back, it stops again. One "
            "that was paused stops at once if letters came back meanwhile.",
            done="The job goes on.",
        ),
        Verb(
            name="cancel",
            do=lambda *args, **kwargs: desk.cancel(*args, **kwargs),
            possible=(State.RUNNING, State.PAUSED, State.STOPPED),
            asks=(State.RUNNING, State.PAUSED, State.STOPPED),
            consequences="It takes no more letters, for good. What it has taken is not taken back, and all other "
            "letters stay as they are.",
            done="The job is cancelled.",
            is_dangerous=True,
        ),
    )
}


def verbs_for(job: LetterJob) -> list[dict[str, Any]]:
    """What can be done with the job now: each button's words, address, and whether a page asks first."""
    return [
        {
            "name": verb.name,
            "address": reverse(f"admin:deadletters_letterjob_{verb.name}", args=[job.id]),
            "asks": job.state in verb.asks,
            "is_dangerous": verb.is_dangerous,
        }
        for verb in VERBS.values()
        if job.state in verb.possible
    ]


def steer(request: HttpRequest, job_id: UUID, verb: str) -> HttpResponse:
    """GET asks; POST does it, and a refusal of it is in the operators' log."""
    job = LetterJob.objects.filter(id=job_id).first()
    if job is None:
        return said(
            request,
            f"There is no job {job_id}.",
            title="No such job",
            status=HTTPStatus.NOT_FOUND,
            links=[("All jobs", reverse("admin:deadletters_letterjob_changelist"))],
        )
    if not request.user.has_perm(VIEW_JOBS):
        return refuse(
            request,
            VIEW_JOBS,
            action=verb,
            subject=f"bulk job {job_id}",
            to=f"{verb} this job",
            job_id=job_id,
        )
    known, permission = VERBS[verb], words_of(LetterJob.Kind(job.kind)).permission
    if request.method != "POST":
        if not request.user.has_perm(permission):
            return forbidden(request, permission, to=f"{verb} this job")
        return _ask(request, job, known)
    reason = reason_in(request)
    if job.state in known.asks and not reason and request.user.has_perm(permission):
        return _ask(request, job, known, problem="Say why: whoever comes after you wants to know.")
    try:
        known.do(job_id, operator=operator_of(request), reason=reason, at=timezone.now())
    except NotPermitted as error:
        return forbidden(request, permission, to=f"{verb} this job", why=str(error))
    except WrongMove as error:
        messages.warning(request, str(error))
    except DeadLetterError as error:
        return _ask(request, job, known, problem=str(error))
    else:
        messages.success(request, known.done)
    return redirect("admin:deadletters_letterjob_change", job_id)


def _ask(request: HttpRequest, job: LetterJob, verb: Verb, *, problem: str = "") -> HttpResponse:
    back = reverse("admin:deadletters_letterjob_change", args=[job.id])
    if job.state not in verb.possible:
        return said(
            request,
            f"The job is {job.state}, and cannot be {_PARTICIPLES[verb.name]} from there.",
            title=f"Nothing to {verb.name}",
            links=[("Back to the job", back)],
        )
    context = {
        "title": f"{verb.name.capitalize()} a bulk job",
        "job": job,
        "verb": verb,
        "stopped_because": seen_by(request, job.stopped_because),
        "is_reason_required": job.state in verb.asks,
        "problem": problem,
        "back": back,
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK
    return page(request, "steer", context, status=status)


_PARTICIPLES = {"pause": "paused", "resume": "resumed", "cancel": "cancelled"}
