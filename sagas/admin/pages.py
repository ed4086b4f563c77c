"""The list of sagas, and the page of one: how far it has come, what it waits for, and what can be done."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.forms import Script
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html

from eventstore.admin_columns import Tone as _Tone
from eventstore.admin_columns import badge, duration, may_open, moment, page_of, state_column, time_column
from eventstore.admin_history import HistoryAdmin, choice_filter
from sagas.admin import acts, story
from sagas.admin.filters import ATTENTION, AttentionFilter, NameFilter, StepFilter, counts
from sagas.admin.looks import REASONS, SAGA_TONES
from sagas.models import SagaRecord
from sagas.state import SagaStatus

_PAGES = ("sagas_sagarecord_change", "sagas_progress")
"""The addresses that show one saga."""


@admin.register(SagaRecord)
class SagaRecordAdmin(HistoryAdmin):
    identifiers = ("id", "correlation_id", "business_key")
    private_fields = ("data",)
    empty_sentence = "No saga: the event that starts it has not arrived yet."

    list_display = (
        "shown_saga",
        "shown_status",
        "shown_current",
        "shown_sendings",
        time_column("started_at"),
        "shown_deadline",
        "order",
        "shown_reason",
    )
    list_filter = (
        AttentionFilter,
        "status",
        NameFilter,
        StepFilter,
        choice_filter("reason", REASONS),
        "started_at",
    )
    sortable_by = ("started_at_shown",)  # by an index
    list_max_show_all = HistoryAdmin.list_per_page
    search_fields = ("business_key",)
    search_help_text = "The id of a saga or of an order; or the beginning of what the saga is unique by"
    ordering = ("-started_at",)
    actions = tuple(acts.BULK)
    fields = (
        ("order_id", "id"),
        ("name", "version", "generation"),
        (state_column("status", SAGA_TONES), "shown_reason"),
        (time_column("started_at"), time_column("finished_at"), "took"),
    )

    class Media:
        css = {"all": ("deadletters/mending.css", "sagas/sagas.css")}
        js = (Script("sagas/live.js", defer=True),)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<uuid:saga_id>/progress/", view(self.progress_view), name="sagas_progress"),
            path("act/<str:kind>/", view(acts.act), name="sagas_act"),
            *super().get_urls(),
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[SagaRecord]:
        found = super().get_queryset(request)
        if request.resolver_match is None or request.resolver_match.url_name not in _PAGES:
            return found
        forks = SagaRecord.objects.filter(forked_from=OuterRef("id")).values("id")
        with_forks: QuerySet[SagaRecord] = found.annotate(fork_id=Subquery(forks[:1]))
        return with_forks

    # --- the list ----------------------------------------------------------------------------------------

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        found, is_doubled = super().get_search_results(request, queryset, "")
        words = search_term.strip()
        if not words:
            return found, is_doubled
        whole = super().get_search_results(request, queryset, words) if _is_uuid(words) else None
        return whole or (queryset.filter(business_key__startswith=words), False)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        told = getattr(response, "context_data", None)
        if told is not None and "cl" in told:
            told["counts"] = _counted()
        return response

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Those that this person may; each leads to a page that asks first."""
        found = super().get_actions(request)
        return {name: found[name] for name in found if name not in acts.BULK or acts.may(request.user, name)}

    def get_action(self, action: Any) -> Any:
        if action in acts.BULK:
            return acts.bulk_action(action), action, acts.BULK[action]
        return super().get_action(action)

    @admin.display(description="saga")
    def shown_saga(self, saga: SagaRecord) -> str:
        """The key is cut: the whole of it is on the page, and in what the mouse shows."""
        return format_html(
            '<span title="{}">{} {}</span>', saga.business_key, saga.name, saga.business_key[:8]
        )

    @admin.display(description="state", ordering="status")
    def shown_status(self, saga: SagaRecord) -> str:
        words = badge(saga.get_status_display(), SAGA_TONES[SagaStatus(saga.status)])
        flags = [
            told
            for told, is_so in (
                ("needs a person", saga.needs_a_person),
                ("overdue", saga.is_overdue),
                ("paused", saga.paused_at is not None and saga.finished_at is None),
                ("held back", saga.is_withheld),
            )
            if is_so
        ]
        return format_html("{} {}", words, badge(", ".join(flags), _Tone.BAD)) if flags else words

    @admin.display(description="current step")
    def shown_current(self, saga: SagaRecord) -> str:
        return saga.current.replace(" ", ", ") or "–"

    @admin.display(description="attempts")
    def shown_sendings(self, saga: SagaRecord) -> str:
        return str(saga.sendings or "–")

    @admin.display(description="deadline")
    def shown_deadline(self, saga: SagaRecord) -> str:
        return moment(saga.look_at)

    @admin.display(description="reason", ordering="reason")
    def shown_reason(self, saga: SagaRecord) -> str:
        return saga.reason.replace("_", " ") or "–"

    @admin.display(description="took")
    def took(self, saga: SagaRecord) -> str:
        return duration(saga.started_at, saga.finished_at)

    @admin.display(description="order")
    def order(self, saga: SagaRecord) -> str:
        return page_of("orders_order", saga.correlation_id[:8], id=saga.correlation_id)

    @admin.display(description="order")
    def order_id(self, saga: SagaRecord) -> str:
        return saga.correlation_id

    def get_list_display(self, request: HttpRequest) -> Any:
        """The order is a link for whoever may open it."""
        shown = super().get_list_display(request)
        if may_open(request.user, "orders_order"):
            return shown
        return ["order_id" if column == "order" else column for column in shown]

    # --- the page ----------------------------------------------------------------------------------------

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        saga: SagaRecord = kwargs["obj"]
        context.update(
            title=f"Saga {saga.name}",
            **story.told(saga, request=request, is_hidden=self.hides_from(request), now=timezone.now()),
        )
        return super().render_change_form(request, context, *args, **kwargs)

    def progress_view(self, request: HttpRequest, saga_id: Any) -> HttpResponse:
        """The part of the page that changes; where the reader has seen it (`seen`), the sentence and the time alone."""
        if not self.has_view_permission(request):
            return HttpResponse(status=403)
        saga = self.get_object(request, str(saga_id))
        if saga is None:
            raise Http404(f"There is no saga {saga_id}.")
        told = story.told(saga, request=request, is_hidden=self.hides_from(request), now=timezone.now())
        is_seen = request.GET.get("seen") == told["version"]
        template = f"admin/sagas/sagarecord/{'standing' if is_seen else 'progress'}.html"
        return TemplateResponse(request, template, {**told, "original": saga})


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _counted() -> list[dict[str, str]]:
    """The counts above the list, each a link to the sagas that it counts."""
    found, address = counts(), reverse("admin:sagas_sagarecord_changelist")
    attention = [
        {
            "words": f"{found[word]} {told}",
            "tone": (_Tone.QUIET if found[word] == "0" else _Tone.BAD).value,
            "address": f"{address}?{urlencode({'attention': word})}",
        }
        for word, (told, _) in ATTENTION.items()
    ]
    states = [
        {
            "words": f"{found[status.value]} {status.value}",
            "tone": SAGA_TONES[status].value,
            "address": f"{address}?{urlencode({'status__exact': status.value})}",
        }
        for status in SagaStatus
    ]
    return attention + states
