"""Pause switches: which are set, and the pages that set and lift one."""

from datetime import timedelta
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin import site
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html

from deadletters.admin.operator import forbidden, operator_of, reason_in, said
from eventstore.admin_columns import Tone, badge, moment, time_column
from eventstore.admin_history import HistoryAdmin, null_filter
from sagas import switching
from sagas.errors import NotPermitted, WrongRequest
from sagas.models import PauseSwitch, SagaRecord
from sagas.switches import SwitchKind

LIST = "admin:sagas_pauseswitch_changelist"
LONGEST = 30 * 24 * 60
"""Minutes for which a switch may be set from the start."""


@admin.register(PauseSwitch)
class PauseSwitchAdmin(HistoryAdmin):
    identifiers = ("id",)
    empty_sentence = "No switch was ever set: everything is handed out."

    list_display = (
        "name",
        "kind",
        "standing",
        "set_by",
        "shown_reason",
        time_column("set_at"),
        "until",
        "lift",
    )
    list_display_links = None
    list_filter = (null_filter("lifted_at", "switch", null="set", given="lifted"), "kind")
    search_fields = ("name", "set_by", "reason")
    ordering = ("-set_at",)
    fields = ("name", "kind", "standing", "set_by", "reason", time_column("set_at"), "until")

    class Media:
        css = {"all": ("deadletters/mending.css", "sagas/sagas.css")}

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("set/", view(set_page), name="sagas_switch_set"),
            path("<uuid:switch_id>/lift/", view(lift_page), name="sagas_switch_lift"),
            *super().get_urls(),
        ]

    def get_list_display(self, request: HttpRequest) -> Any:
        shown = super().get_list_display(request)
        return shown if request.user.has_perm(switching.SET) else shown[:-1]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        told = {"may_set": request.user.has_perm(switching.SET)}
        return super().changelist_view(request, {**told, **(extra_context or {})})

    @admin.display(description="state")
    def standing(self, switch: PauseSwitch) -> str:
        if switch.lifted_at is None:
            return badge("set", Tone.WAITING)
        return badge(f"lifted by {switch.lifted_by}", Tone.QUIET)

    @admin.display(description="reason")
    def shown_reason(self, switch: PauseSwitch) -> str:
        return switch.reason

    @admin.display(description="until")
    def until(self, switch: PauseSwitch) -> str:
        return moment(switch.lifted_at or switch.lapses_at)

    @admin.display(description="")
    def lift(self, switch: PauseSwitch) -> str:
        if switch.lifted_at is not None:
            return ""
        return format_html('<a href="{}">Lift…</a>', reverse("admin:sagas_switch_lift", args=[switch.id]))


def set_page(request: HttpRequest) -> HttpResponse:
    """GET asks which commands are to be held back, why and for how long; POST sets the switch."""
    if request.method != "POST" and not request.user.has_perm(switching.SET):
        return forbidden(request, switching.SET, to="set pause switches")
    problem = ""
    what = request.POST.get("what", request.GET.get("what", ""))
    minutes = request.POST.get("minutes", "").strip()
    if request.method == "POST":
        now = timezone.now()
        try:
            kind, name = _what(what)
            switching.set_switch(
                kind,
                name,
                operator=operator_of(request),
                reason=reason_in(request),
                at=now,
                lapses_at=now + timedelta(minutes=_minutes(minutes)) if minutes else None,
            )
        except NotPermitted as error:
            return forbidden(request, switching.SET, to="set pause switches", why=str(error))
        except WrongRequest as error:
            problem = str(error)
        else:
            messages.success(request, f"Nothing is handed out any more to the {kind} {name}.")
            return redirect(LIST)
    context = {
        **site.each_context(request),
        "title": "Set a pause switch",
        "choices": [(kind.value, names) for kind, names in switching.choices().items()],
        "what": what,
        "minutes": minutes,
        "reason": reason_in(request),
        "problem": problem,
        "back": reverse(LIST),
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK
    return TemplateResponse(request, "admin/sagas/desk/set_switch.html", context, status=status)


def lift_page(request: HttpRequest, switch_id: UUID) -> HttpResponse:
    """GET asks; POST lifts the switch, and whatever it held back goes on."""
    switch = PauseSwitch.objects.filter(id=switch_id).first()
    back = [("All switches", reverse(LIST))]
    if switch is None:
        return said(
            request,
            f"There is no switch {switch_id}.",
            title="No such switch",
            status=HTTPStatus.NOT_FOUND,
            links=back,
        )
    if request.method == "POST":
        try:
            going_on = switching.lift_switch(
                switch_id, operator=operator_of(request), at=timezone.now(), reason=reason_in(request)
            )
        except NotPermitted as error:
            return forbidden(request, switching.SET, to="lift pause switches", why=str(error))
        except WrongRequest as error:
            messages.warning(request, str(error))
        else:
            messages.success(request, f"The {switch} is handed out again; {going_on} sagas go on.")
        return redirect(LIST)
    if not request.user.has_perm(switching.SET):
        return forbidden(request, switching.SET, to="lift pause switches")
    if switch.lifted_at is not None:
        return said(
            request,
            f"It was lifted already, by {switch.lifted_by}.",
            title="Nothing to lift",
            status=HTTPStatus.CONFLICT,
            links=back,
        )
    context = {
        **site.each_context(request),
        "title": f"Lift the pause switch on {switch}",
        "switch": switch,
        "withheld": SagaRecord.objects.filter(is_withheld=True).count(),
        "back": reverse(LIST),
    }
    return TemplateResponse(request, "admin/sagas/desk/lift_switch.html", context)


def _what(what: str) -> tuple[SwitchKind, str]:
    kind, _, name = what.partition(":")
    if kind not in [known.value for known in SwitchKind] or not name:
        raise WrongRequest("Choose what is to be held back.")
    return SwitchKind(kind), name


def _minutes(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:9]) <= LONGEST:
        raise WrongRequest(f"Write a number of minutes from 1 to {LONGEST}, or nothing: until it is lifted.")
    return int(text)
