"""What people do to sagas: a page asks first, says what will be sent, and takes the reason; then it is done."""

from collections import Counter
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from django.contrib import messages
from django.contrib.admin import site
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from deadletters.admin.operator import forbidden, operator_of, reason_in, said
from deadletters.collecting.amqp_values import readable
from sagas import steering
from sagas.actions import refusal_of
from sagas.definition import Saga
from sagas.errors import ActionRefused, MissingDefinition, NotPermitted, WrongRequest
from sagas.forking import refusal_to_fork
from sagas.incoming import Action, CancelSaga, MarkUndone, PauseSaga, ResumeSaga, RetryStep, SkipStep
from sagas.models import SagaRecord
from sagas.moves import Sending
from sagas.records import LoadedSaga, look
from sagas.registry import definition, newest
from sagas.switches import Switch

LIST = "admin:sagas_sagarecord_changelist"
PAGE = "admin:sagas_sagarecord_change"
VIEW = "sagas.view_sagarecord"
MOST_SHOWN = 20
MOST_ATTEMPTS = 500
"""Characters of a reason, or of the evidence."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that people do: its words, what it needs, and what follows from it."""

    words: str
    make: Callable[[str], Action] | None
    permission: str
    consequences: str
    done: str
    is_dangerous: bool = False
    is_of_a_step: bool = False
    needs_reason: bool = False
    needs_evidence: bool = False


KINDS: dict[str, Kind] = {
    "pause": Kind(
        words="Pause",
        make=lambda step: PauseSaga(),
        permission=steering.STEER,
        consequences="Nothing is sent any more until somebody resumes it. Answers to what is out are taken in, and "
        "deadlines stand still.",
        done="paused",
    ),
    "resume": Kind(
        words="Resume",
        make=lambda step: ResumeSaga(),
        permission=steering.STEER,
        consequences="It goes on from where it stands; deadlines are moved on by as long as it was paused.",
        done="resumed",
    ),
    "retry": Kind(
        words="Retry now",
        make=RetryStep,
        permission=steering.STEER,
        is_of_a_step=True,
        consequences="The command is sent again now, under the key that it had: if it had its effect already, it has "
        "no second one, and the service only repeats its answer.",
        done="sent again",
    ),
    "skip": Kind(
        words="Skip",
        make=SkipStep,
        permission=steering.MEND,
        is_of_a_step=True,
        needs_reason=True,
        is_dangerous=True,
        consequences="The step counts as done, and the saga goes on without its answer. If the answer comes after all, "
        "it is taken in; if the saga is undone later and the command had been sent, so is the step.",
        done="skipped",
    ),
    "cancel": Kind(
        words="Cancel",
        make=lambda step: CancelSaga(),
        permission=steering.CANCEL,
        needs_reason=True,
        is_dangerous=True,
        consequences="Everything that was done is undone, the last step first. What is out just now is waited for, and "
        "then undone too. This cannot be taken back.",
        done="being undone",
    ),
    "mark_undone": Kind(
        words="Undone by hand",
        make=MarkUndone,
        permission=steering.MEND,
        is_of_a_step=True,
        needs_reason=True,
        needs_evidence=True,
        is_dangerous=True,
        consequences="The saga takes your word that the step is undone, and never tries to undo it again. This cannot "
        "be taken back.",
        done="marked as undone by hand",
    ),
    "fork": Kind(
        words="Run again",
        make=None,
        permission=steering.FORK,
        is_of_a_step=True,
        needs_reason=True,
        is_dangerous=True,
        consequences="A new saga begins at this step, on the newest version of the definition. It takes over what was "
        "done before, and this one ends here. A step of which nobody knows what became of it is sent again under the "
        "key that it had, so that it has its effect once.",
        done="run again",
    ),
}
BULK = {
    "pause": "Pause…",
    "resume": "Resume…",
    "cancel": "Cancel…: have everything undone",
}


def may(user: Any, kind: str) -> bool:
    """Whether this person may do that."""
    return bool(user.has_perm(KINDS[kind].permission))


def link(kind: str, ids: Sequence[UUID], *, step: str = "") -> dict[str, Any]:
    """A button: its words and its address."""
    asked = {"ids": ",".join(str(saga_id) for saga_id in ids), **({"step": step} if step else {})}
    return {
        "words": KINDS[kind].words,
        "address": f"{reverse('admin:sagas_act', args=[kind])}?{urlencode(asked)}",
        "is_dangerous": KINDS[kind].is_dangerous,
    }


def offered(
    table: Saga, loaded: LoadedSaga, switches: Sequence[Switch], *, user: Any
) -> list[dict[str, Any]]:
    """The buttons for the whole saga: what can be done with it now, and this person may do."""
    ids = [loaded.state.id]
    found = [
        link(name, ids)
        for name, action in (("pause", PauseSaga()), ("resume", ResumeSaga()), ("cancel", CancelSaga()))
        if may(user, name) and refusal_of(table, loaded.state, action, switches) is None
    ]
    if may(user, "fork") and _steps_to_fork_from(loaded):
        found.append(link("fork", ids))
    return found


def _steps_to_fork_from(loaded: LoadedSaga) -> list[str]:
    try:
        old, new = definition(loaded.name, loaded.version), newest(loaded.name)
    except MissingDefinition:
        return []
    return [step.name for step in new.steps if refusal_to_fork(old, loaded.state, new, step.name) is None]


def bulk_action(kind: str) -> Callable[..., HttpResponse | None]:
    """Django's action that leads to the page which asks."""

    def lead(model_admin: Any, request: HttpRequest, queryset: QuerySet[SagaRecord]) -> HttpResponse | None:
        ids = list(queryset.order_by("id").values_list("id", flat=True)[: steering.MOST_AT_ONCE + 1])
        if len(ids) > steering.MOST_AT_ONCE:
            model_admin.message_user(
                request,
                f"These are more than {steering.MOST_AT_ONCE} sagas. Narrow the list, or set a pause switch.",
                messages.ERROR,
            )
            return None
        return _ask(request, kind, ids, step="")

    return lead


def act(request: HttpRequest, kind: str) -> HttpResponse:
    """GET asks; POST does it, and a refusal of it is in the operators' log."""
    known = KINDS.get(kind)
    given = request.POST if request.method == "POST" else request.GET
    step = readable(given.get("step", ""), 60)
    if known is None:
        return _nonsense(request, f"There is nothing called {kind[:40]!r} to do with a saga.")
    try:
        ids = [UUID(part) for part in given.get("ids", "").split(",") if part.strip()]
    except ValueError:
        return _nonsense(request, "An id in the address is none: choose the sagas from the list.")
    if not request.user.has_perm(VIEW):
        return forbidden(request, VIEW, to="see sagas")
    if not ids or len(ids) > steering.MOST_AT_ONCE:
        return _nonsense(request, f"Choose at least one saga, and at most {steering.MOST_AT_ONCE}.")
    if known.is_of_a_step and len(ids) > 1:
        return _nonsense(request, "This is done to a step of one saga at a time.")
    if request.method != "POST" or "confirmed" not in request.POST:
        if not request.user.has_perm(known.permission):
            return forbidden(request, known.permission, to=f"{known.words.lower()} sagas")
        return _ask(request, kind, ids, step=step)
    return _do(request, kind, ids, step=step)


def _do(request: HttpRequest, kind: str, ids: list[UUID], *, step: str) -> HttpResponse:
    known, now = KINDS[kind], timezone.now()
    reason = reason_in(request)
    evidence = readable(request.POST.get("evidence", "").strip(), MOST_ATTEMPTS)
    operator = operator_of(request)
    try:
        if known.make is None:
            fork_id, _ = steering.run_again(ids[0], step, operator=operator, at=now, reason=reason)
            messages.success(request, f"It is run again from step {step}: this is the new saga.")
            return redirect(PAGE, fork_id)
        outcome = steering.steer(
            known.make(step), ids, operator=operator, at=now, reason=reason, evidence=evidence
        )
    except NotPermitted as error:
        return forbidden(request, known.permission, to=f"{known.words.lower()} sagas", why=str(error))
    except (WrongRequest, ActionRefused) as error:
        return _ask(request, kind, ids, step=step, problem=str(error))
    if len(ids) == 1:
        for refusal in outcome.refused.values():
            messages.warning(request, f"Nothing was done. {refusal}")
        if outcome.done:
            what = f"Step {step} is {known.done}." if step else f"The saga is {known.done}."
            messages.success(request, what)
        return redirect(PAGE, ids[0])
    if outcome.done:
        messages.success(request, f"{_sagas(len(outcome.done))} {known.done}.")
    for refusal, number in Counter(outcome.refused.values()).most_common(5):
        messages.warning(request, f"{_sagas(number)} left as they were: {refusal}")
    return redirect(LIST)


def _ask(request: HttpRequest, kind: str, ids: list[UUID], *, step: str, problem: str = "") -> HttpResponse:
    known, now = KINDS[kind], timezone.now()
    records = {saga.id: saga for saga in SagaRecord.objects.filter(id__in=ids).defer("data")}
    missing = [saga_id for saga_id in ids if saga_id not in records]
    if missing and len(ids) == 1:
        return said(
            request,
            f"There is no saga {missing[0]}.",
            title="No such saga",
            status=HTTPStatus.NOT_FOUND,
            links=[("All sagas", reverse(LIST))],
        )
    choices: list[str] = []
    refused: dict[UUID, str] = {}
    sendings: dict[UUID, tuple[Sending, ...]] = {}
    if known.make is None:
        loaded = look(ids, now=now).sagas[ids[0]]
        choices = _steps_to_fork_from(loaded)
        if step:
            try:
                sendings = {ids[0]: steering.forecast_fork(ids[0], step, now=now)}
            except ActionRefused as error:
                refused = {ids[0]: str(error)}
    else:
        forecast = steering.forecast(known.make(step), ids, now=now)
        sendings, refused = forecast.done, forecast.refused
    back = reverse(PAGE, args=[ids[0]]) if len(ids) == 1 else reverse(LIST)
    if len(ids) == 1 and refused:
        return said(
            request,
            refused[ids[0]],
            title=f"{known.words}: not now",
            status=HTTPStatus.CONFLICT,
            links=[("Back to the saga", back)],
        )
    counted = Counter(
        (sending.command.wire_type, sending.is_compensation) for sent in sendings.values() for sending in sent
    )
    subject = records[ids[0]] if len(ids) == 1 else f"{len(sendings)} of {len(ids)} sagas"
    context = {
        **site.each_context(request),
        "title": f"{known.words}: step {step} of {subject}" if step else f"{known.words}: {subject}",
        "kind": kind,
        "known": known,
        "ids": ",".join(str(saga_id) for saga_id in ids),
        "is_one": len(ids) == 1,
        "number": len(sendings),
        "step": step,
        "choices": choices,
        "needs_step": known.make is None and not step,
        "refused": Counter(refused.values()).most_common(5),
        "sent": [
            {"type": wire_type, "number": number, "is_compensation": is_compensation}
            for (wire_type, is_compensation), number in sorted(counted.items())
        ],
        "sagas": [(records[saga_id], sendings[saga_id]) for saga_id in list(sendings)[:MOST_SHOWN]],
        "more": max(0, len(sendings) - MOST_SHOWN),
        "problem": problem,
        "reason": reason_in(request),
        "evidence": request.POST.get("evidence", "")[:MOST_ATTEMPTS],
        "back": back,
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK
    return TemplateResponse(request, "admin/sagas/desk/act.html", context, status=status)


def _nonsense(request: HttpRequest, sentence: str) -> HttpResponse:
    return said(
        request,
        sentence,
        title="Nothing to do",
        status=HTTPStatus.BAD_REQUEST,
        links=[("All sagas", reverse(LIST))],
    )


def _sagas(number: int) -> str:
    return f"{number} saga{'s were' if number != 1 else ' was'}"
