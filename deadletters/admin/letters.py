"""The list of dead letters, and the page of one."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.forms import Script
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import Truncator

from deadletters import tallies
from deadletters.admin import letter_page
from deadletters.admin.addresses import (
    GROUP,
    LETTER,
    act_address,
    letters_address,
    links_for_all,
    links_for_one,
    page_link,
    with_query,
)
from deadletters.admin.filters import LETTER_FILTERS, LetterChangeList, LetterPaginator, chosen_letters
from deadletters.admin.mending import mending_urls
from deadletters.admin.words import STATE_TONES, problem_of, type_of
from deadletters.errors import WrongFilter
from deadletters.filtering import LetterFilter
from deadletters.jobs.letter_jobs import NEEDED
from deadletters.models import DeadLetter, LetterJob
from eventstore.admin_columns import badge, page_of, time_column
from eventstore.admin_history import HistoryAdmin
from eventstore.admin_privacy import PERMISSION, masked

_KNOWN_BY = {
    "id": "ids",
    "message_id": "message",
    "correlation_id": "order",
    "saga_id": "q",
    "replay_id": "q",
}
"""The fields by which pages of other services name a letter, and the parameter that means the same."""


@admin.register(DeadLetter)
class DeadLetterAdmin(HistoryAdmin):
    checks_its_address = True
    private_fields = ("headers", "properties")

    list_display = (
        "shown_type",
        "shown_state",
        "service",
        "problem",
        "order",
        "shown_attempt",
        time_column("died_at"),
    )
    list_filter = LETTER_FILTERS
    search_fields = ("words",)  # that there is a search; `LetterFilter` does it
    search_help_text = (
        "Words of a service, type, exception or body (auth* finds what begins so); or an identifier of an order, "
        "a message, a saga, a letter. A place in the code is found among the groups"
    )
    list_max_show_all = HistoryAdmin.list_per_page  # what is ticked has to fit into an address
    sortable_by = ("died_at_shown",)  # by an index; a million letters are not sorted by anything else
    ordering = ("-died_at", "-id")
    list_select_related = ("group",)
    actions = ("replay", "discard", "restore")
    fields = ("id",)

    class Media:
        css = {"all": ("deadletters/desk.css",)}
        js = (Script("deadletters/find_in_text.js", defer=True),)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LetterChangeList

    def get_paginator(
        self, request: HttpRequest, queryset: QuerySet[Any], per_page: int, *args: Any, **more: Any
    ) -> Any:
        if queryset.query.is_empty():  # for what is wrong with the address
            return super().get_paginator(request, queryset, per_page, *args, **more)
        return LetterPaginator(queryset, per_page, chosen=chosen_letters(request.GET))

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.body_view)
        own = path("<uuid:letter_id>/body/", view, name="deadletters_deadletter_body")
        return [own, *mending_urls(self), *super().get_urls()]

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("deadletters.replay_deadletter")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("deadletters.discard_deadletter")

    # --- the list ----------------------------------------------------------------------------------------

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return queryset, False  # the list's `LetterFilter` has the words too

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        names = set(request.GET)
        if request.method == "GET" and len(names) == 1 and (name := names.pop()) in _KNOWN_BY:
            return _known_by(_KNOWN_BY[name], request.GET[name])
        response = super().changelist_view(request, extra_context)
        told = getattr(response, "context_data", None) or {}
        if (found := told.get("cl")) is None:
            return response
        told |= {"problem": found.problem, "title": "Dead letters"}
        if found.problem:
            response.status_code = 400
        else:
            told |= _meant(found, request)
        return response

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any
    ) -> HttpResponse | None:
        """Django asks the database for what was ticked before it asks the action, whatever it is."""
        try:
            LetterFilter.from_query({"ids": _ticked(request)})
        except WrongFilter as error:
            self.message_user(request, str(error), messages.ERROR)
            return None
        return super().response_action(request, queryset, *args)

    @admin.action(description="Replay…: send the messages again to where they died", permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        return self._ask(request, LetterJob.Kind.REPLAY)

    @admin.action(description="Discard…: never handle the messages", permissions=["discard"])
    def discard(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        return self._ask(request, LetterJob.Kind.DISCARD)

    @admin.action(description="Restore…: open what was discarded", permissions=["discard"])
    def restore(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        return self._ask(request, LetterJob.Kind.RESTORE)

    def _ask(self, request: HttpRequest, kind: LetterJob.Kind) -> HttpResponse | None:
        """To the page that says what is about to be done: with what was ticked, or with all that match."""
        if request.POST.get("select_across") != "1":
            return redirect(act_address(kind, {"ids": _ticked(request)}))
        try:
            query = chosen_letters(request.GET).to_query()
        except WrongFilter as error:
            self.message_user(request, str(error), messages.ERROR)
            return None
        return redirect(act_address(kind, {"state": NEEDED[kind].value, **query}))

    @admin.display(description="type")
    def shown_type(self, letter: DeadLetter) -> str:
        return type_of(letter)

    @admin.display(description="state")
    def shown_state(self, letter: DeadLetter) -> str:
        state = DeadLetter.State(letter.state)
        return format_html('<span title="{}">{}</span>', state.label, badge(state.value, STATE_TONES[state]))

    @admin.display(description="attempt")
    def shown_attempt(self, letter: DeadLetter) -> str:
        return "–" if letter.attempt is None else str(letter.attempt)

    @admin.display(description="problem")
    def problem(self, letter: DeadLetter) -> str:
        return Truncator(problem_of(letter)).chars(120)

    @admin.display(description="order")
    def order(self, letter: DeadLetter) -> str:
        if not letter.correlation_id:
            return "–"
        whole = letter.correlation_id
        short = whole if len(whole) <= 13 else f"{whole[:8]}…{whole[-4:]}"
        return page_of(
            "deadletters_deadletter", format_html('<span title="{}">{}</span>', whole, short), order=whole
        )

    # --- the page of one ---------------------------------------------------------------------------------

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """The letter as this user may read it, with the beginning of its body."""
        try:
            letter_id = UUID(object_id)
        except ValueError:
            return None
        found = self.get_queryset(request).select_related("group", "follows").filter(id=letter_id)
        letter: Any = (
            found.defer("body", "words", *(f"follows__{name}" for name in ("body", "words", "headers")))
            .annotate(**letter_page.BODY)
            .first()
        )
        if letter is not None and self.hides_from(request):
            for field in self.private_fields:
                setattr(letter, field, masked(getattr(letter, field)))
        return letter

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        letter = kwargs["obj"]
        context.update(letter_page.told(letter, is_hidden=self.hides_from(request), now=timezone.now()))
        context.update(
            title=f"Dead letter: {type_of(letter)}",
            subtitle=None,
            buttons=list(
                links_for_one(letter, may=request.user.has_perm, is_editing_on=settings.LETTER_EDITING)
            ),
            whole_body=reverse("admin:deadletters_deadletter_body", args=[letter.id]),
        )
        return super().render_change_form(request, context, *args, **kwargs)

    def body_view(self, request: HttpRequest, letter_id: UUID) -> HttpResponse:
        """The bytes of the body, exactly as they came, for who may read what is said about customers."""
        if not (self.has_view_permission(request) and request.user.has_perm(PERMISSION)):
            raise PermissionDenied
        body = self.get_queryset(request).filter(id=letter_id).values_list("body", flat=True).first()
        if body is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, str(letter_id))  # type: ignore[no-any-return, attr-defined]
        name = f'attachment; filename="dead-letter-{letter_id}.bin"'
        return HttpResponse(
            bytes(body), content_type="application/octet-stream", headers={"Content-Disposition": name}
        )


def _ticked(request: HttpRequest) -> str:
    return ",".join(text.strip() or "''" for text in request.POST.getlist("_selected_action"))


def _known_by(parameter: str, value: str) -> HttpResponse:
    """To the one letter that is named so, else to the list of them."""
    try:
        chosen = chosen_letters({parameter: value})
    except WrongFilter:
        return redirect(with_query(letters_address(LetterFilter()), {parameter: value}))
    found = list(chosen.apply(DeadLetter.objects.all()).values_list("id", flat=True)[:2])
    return redirect(LETTER, found[0]) if len(found) == 1 else redirect(letters_address(chosen))


def _meant(found: Any, request: HttpRequest) -> dict[str, Any]:
    """What the list shows, in words and as a number; what may be done with all of it; what it means if it is empty."""
    chosen: LetterFilter = found.letters
    counted = getattr(found.paginator, "counted", None) or tallies.Counted(number=0, is_exact=True)
    number, is_exact = counted.number, counted.is_exact
    words = chosen.describe()
    group = (
        page_link(GROUP, str(found.result_list[0].group), chosen.fingerprint)
        if (chosen.fingerprint and found.result_list)
        else ""
    )
    if chosen == LetterFilter():
        words, empty = "all letters", "No dead letter: everything that came has been handled."
    elif chosen == LetterFilter(state=DeadLetter.State.OPEN.value):
        empty = "No open letter: nothing waits for a person."
    else:
        empty = "No letter matches the search and the filters."
    which = " all that match" if chosen.state else " all open ones that match"
    return {
        "meant": words,
        "number": f"{number:,}",
        "is_exact": is_exact,
        "group": group,
        "links": list(links_for_all(chosen, may=request.user.has_perm, which=which)) if number else [],
        "empty_sentence": empty,
    }
