"""Groups of dead letters: what fails, where, how often and for how many orders; and what can be done with all of it."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html, format_html_join

from deadletters import tallies
from deadletters.admin.addresses import JOB, LETTER, letters_address, links_for_all, page_link
from deadletters.admin.filters import GROUP_FILTERS, GroupChangeList
from deadletters.admin.jobs import STATE_TONES as JOB_TONES
from deadletters.admin.letter_body import shown_body
from deadletters.admin.letter_page import BODY
from deadletters.admin.words import STATE_TONES, problem_of, type_of
from deadletters.errors import WrongFilter
from deadletters.filtering import LetterFilter
from deadletters.models import DeadLetter, LetterGroup, LetterJob, LetterTally
from eventstore.admin_columns import badge, moment
from eventstore.admin_history import HistoryAdmin
from eventstore.admin_svg import sparkline
from eventstore.private_text import scrubbed

_NONE = tallies.GroupFigures(by_state={}, services=[], by_hour=[0] * tallies.HOURS, orders=0)
_MOST_RECENT = 10
_MOST_JOBS = 5
_OPEN = DeadLetter.State.OPEN.value
_SHOWN = ("id", "type", "service", "state", "exception", "reason", "is_failure_known", "died_at", "group_id")


class _WithFigures(GroupChangeList):
    """The page's groups, each with its `figures`: two statements, however many groups there are."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        names = [group.fingerprint for group in self.result_list]
        figures = tallies.of_groups(names, now=timezone.now()) if names else {}
        for group in self.result_list:
            group.figures = figures.get(group.fingerprint, _NONE)

    def chosen(self, found: QuerySet[LetterGroup], request: HttpRequest) -> QuerySet[LetterGroup]:
        found = super().chosen(found, request)
        if wanted := request.GET.get("open"):
            if wanted != "yes":
                raise WrongFilter(f"open is {wanted!r}; it can only be yes.")
            waiting = DeadLetter.objects.filter(group=OuterRef("pk"), state=_OPEN)
            found = found.filter(Exists(waiting))
        if service := request.GET.get("service"):
            # A group has few tallies and maybe a million letters.
            found = found.filter(
                Exists(LetterTally.objects.filter(fingerprint=OuterRef("pk"), service=service, letters__gt=0))
            )
        if wire_type := request.GET.get("type"):
            found = found.filter(type=wire_type)
        return found


@admin.register(LetterGroup)
class LetterGroupAdmin(HistoryAdmin):
    checks_its_address = True
    empty_sentence = "No group: nothing has ever failed for good."

    list_display = (
        "what",
        "open_letters",
        "last_day",
        "services",
        "orders",
        "seen",
        "mending",
    )
    list_filter = GROUP_FILTERS
    search_fields = ("type", "exception_class", "frame")
    search_help_text = "Part of a type, an exception's class or a frame such as billing/handlers.py"
    sortable_by = ("seen",)
    ordering = ("-last_seen_at", "fingerprint")
    fields = ("fingerprint",)
    actions = None

    class Media:
        css = {"all": ("deadletters/desk.css",)}

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may see letters may see what they have in common."""
        return request.user.has_perm("deadletters.view_deadletter")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return _WithFigures

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        told = getattr(response, "context_data", None) or {}
        if (found := told.get("cl")) is None:
            return response
        told |= {"problem": found.problem, "title": "Groups of dead letters"}
        if found.problem:
            response.status_code = 400
        for group in found.result_list:
            group.links = (
                list(_mending(group, request.user.has_perm)) if group.figures.by_state.get(_OPEN) else []
            )
        if set(request.GET) == {"open"}:
            told["empty_sentence"] = "No group has an open letter: nothing waits for a person."
        return response

    @admin.display(description="what fails", ordering="type")
    def what(self, group: LetterGroup) -> str:
        return format_html(
            '<strong>{}</strong><br><span class="problem">{}</span><br><span class="quiet">{}</span>',
            group.type or "no type that can be read",
            group.exception_class,
            group.frame,
        )

    @admin.display(description="open, and all")
    def open_letters(self, group: Any) -> str:
        count = group.figures.by_state.get(_OPEN, 0)
        every = _letters(group, f"of {sum(group.figures.by_state.values()):,}")
        if not count:
            return format_html('none <span class="quiet">{}</span>', every)
        shown = badge(f"{count:,} open", STATE_TONES[DeadLetter.State.OPEN])
        return format_html('{} <span class="quiet">{}</span>', _letters(group, shown, state=_OPEN), every)

    @admin.display(description="last 24 hours")
    def last_day(self, group: Any) -> str:
        return _day(group.figures)

    @admin.display(description="services")
    def services(self, group: Any) -> str:
        return ", ".join(group.figures.services) or "–"

    @admin.display(description="orders")
    def orders(self, group: Any) -> str:
        return _orders(group.figures)

    @admin.display(description="last and first seen", ordering="last_seen_at")
    def seen(self, group: LetterGroup) -> str:
        first = moment(group.first_seen_at)
        return format_html('{}<br><span class="quiet">{}</span>', moment(group.last_seen_at), first)

    @admin.display(description="mend")
    def mending(self, group: Any) -> str:
        return format_html_join(
            "", '<a class="mend" href="{}">{}</a>', ((link.address, link.text) for link in group.links)
        )

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        group: LetterGroup = kwargs["obj"]
        context.update(_told(group, is_hidden=self.hides_from(request)))
        context.update(
            title="Group of dead letters",
            subtitle=None,
            links=list(_mending(group, request.user.has_perm)) if context["open_letters"] else [],
        )
        return super().render_change_form(request, context, *args, **kwargs)


def _told(group: LetterGroup, *, is_hidden: bool) -> dict[str, Any]:
    """What the page of a group tells: five statements."""
    now = timezone.now()
    figures = tallies.of_groups([group.fingerprint], now=now).get(group.fingerprint, _NONE)
    recent = list(
        DeadLetter.objects.filter(group=group).only(*_SHOWN).order_by("-died_at", "-id")[:_MOST_RECENT]
    )
    traceback = ""
    if recent:
        traceback = _traceback(recent[0].id, is_hidden=is_hidden)
    jobs = LetterJob.objects.filter(filter__fingerprint=group.fingerprint).order_by("-requested_at")
    return {
        "group": group,
        "first_seen": moment(group.first_seen_at),
        "last_seen": moment(group.last_seen_at),
        "open_letters": figures.by_state.get(_OPEN, 0),
        "open_link": _letters(group, f"{figures.by_state.get(_OPEN, 0):,}", state=_OPEN),
        "all_link": _letters(group, f"{sum(figures.by_state.values()):,}"),
        "orders": _orders(figures),
        "last_day": _day(figures),
        "died_lately": f"{sum(figures.by_hour):,}",
        "hours": len(figures.by_hour),
        "states": [
            _letters(group, badge(f"{count:,} {state}", STATE_TONES[DeadLetter.State(state)]), state=state)
            for state, count in figures.by_state.items()
        ],
        "services": [_letters(group, service, service=service) for service in figures.services],
        "traceback": traceback,
        "recent": [
            {
                "page": page_link(LETTER, type_of(letter), letter.id),
                "id": letter.id,
                "service": letter.service,
                "state": badge(letter.state, STATE_TONES[DeadLetter.State(letter.state)]),
                "at": moment(letter.died_at),
                "problem": group.exception_class if is_hidden and letter.exception else problem_of(letter),
            }
            for letter in recent
        ],
        "all_address": letters_address(LetterFilter(fingerprint=group.fingerprint)),
        "jobs": [
            {
                "page": page_link(JOB, f"{job.kind} {job.description}", job.id),
                "state": badge(job.get_state_display(), JOB_TONES[LetterJob.State(job.state)]),
                "by": job.requested_by,
                "at": moment(job.requested_at),
                "done": f"{job.done:,}",
            }
            for job in jobs[:_MOST_JOBS]
        ],
    }


def _traceback(letter_id: UUID, *, is_hidden: bool) -> str:
    """The letter's; of one that may say something of a customer, what is not said of him. One statement."""
    letter: Any = DeadLetter.objects.only("traceback").annotate(**BODY).get(id=letter_id)
    if not is_hidden:
        return str(letter.traceback)
    private = shown_body(bytes(letter.beginning), size=letter.size, is_hidden=True).private
    return scrubbed(letter.traceback, known=private)


def _mending(group: LetterGroup, may: Any) -> Any:
    return links_for_all(LetterFilter(fingerprint=group.fingerprint, state=_OPEN), may=may)


def _letters(group: LetterGroup, text: str, **more: str) -> str:
    """A link to the group's letters, or to some of them."""
    address = letters_address(LetterFilter(fingerprint=group.fingerprint, **more))  # type: ignore[arg-type]
    return format_html('<a href="{}">{}</a>', address, text)


def _day(figures: tallies.GroupFigures) -> str:
    return sparkline(figures.by_hour, label="Deaths by hour, the last 24 hours")


def _orders(figures: tallies.GroupFigures) -> str:
    if figures.orders >= tallies.MOST_ORDERS:
        return f"{figures.orders:,} or more"
    return f"{figures.orders:,}" if figures.orders else "none"
