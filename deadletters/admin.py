"""Dead letters: what each says, why it died, what was done about it; and replay, discard and restore."""

import json
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.text import Truncator

from deadletters import services
from deadletters.admin_mending import mending_urls
from deadletters.errors import ReasonMissing
from deadletters.models import DeadLetter, Replay
from eventstore.admin_columns import Tone, json_block, json_column, moment, page_of, state_column, time_column
from eventstore.admin_history import HistoryAdmin, null_filter
from eventstore.admin_privacy import HIDDEN, masked

STATE_TONES = {
    DeadLetter.State.OPEN: Tone.BAD,
    DeadLetter.State.REPLAYING: Tone.WAITING,
    DeadLetter.State.RESOLVED: Tone.GOOD,
    DeadLetter.State.DISCARDED: Tone.UNDONE,
    DeadLetter.State.SUPERSEDED: Tone.QUIET,
}
_LARGE = ("body", "headers", "properties", "deaths", "traceback")
_MOST_SHOWN = 10
"""Letters that are listed before an action; the others are counted."""
_MOST_REASONS = 5
"""Refusals that are told one by one after an action; the others are counted."""


class _WithoutBodies(ChangeList):
    """A body may be as large as the broker takes: a page of fifty letters must not fetch fifty of them."""

    def get_queryset(self, *args: Any, **kwargs: Any) -> QuerySet[DeadLetter]:
        found: QuerySet[DeadLetter] = super().get_queryset(*args, **kwargs)
        return found.defer(*_LARGE)


@admin.register(DeadLetter)
class DeadLetterAdmin(HistoryAdmin):
    identifiers = ("id", "message_id", "correlation_id", "saga_id", "replay_id", "group")
    private_fields = ("headers", "properties")
    empty_sentence = "No dead letter: everything that came has been handled."

    list_display = (
        "shown_type",
        state_column("state", STATE_TONES),
        "service",
        "problem",
        "shown_attempt",
        time_column("died_at"),
    )
    list_filter = (
        "state",
        null_filter("saga_id", "saga", null="of no saga", given="of a saga"),
        "died_at",
    )
    search_fields = ("type", "exception", "service")
    search_help_text = (
        "The id of a letter, a message, an order, a saga or a replay; or part of a type or exception"
    )
    ordering = ("-died_at", "-id")
    list_select_related = ("group",)
    actions = ("replay", "discard", "restore")
    fields = (
        "id",
        "shown_type",
        (state_column("state", STATE_TONES), "service"),
        (time_column("died_at"), time_column("collected_at"), time_column("closed_at")),
        "message_id",
        "correlation_id",
        ("saga_id", "step"),
        ("attempt", "reason"),
        "exception",
        "shown_traceback",
        "shown_group",
        "shown_follows",
        "shown_replays",
        "shown_actions",
        "shown_body",
        json_column("headers"),
        json_column("properties"),
        json_column("deaths"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        return super().get_queryset(request).select_related("group")

    def get_urls(self) -> list[Any]:
        return [*mending_urls(self), *super().get_urls()]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return _WithoutBodies

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        letter = super().get_object(request, object_id, from_field)
        if letter is not None and self.hides_from(request):
            letter.body = _masked_body(bytes(letter.body))
        return letter

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("deadletters.replay_deadletter")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("deadletters.discard_deadletter")

    @admin.action(description="Replay: send the message again to where it died", permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        return self._act(request, queryset, verb="replay", done="sent again", act=services.replay)

    @admin.action(description="Discard: never handle the message", permissions=["discard"])
    def discard(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        return self._act(request, queryset, verb="discard", done="discarded", act=services.discard)

    @admin.action(description="Restore: open what was discarded", permissions=["discard"])
    def restore(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        return self._act(request, queryset, verb="restore", done="open again", act=services.restore)

    def _act(
        self,
        request: HttpRequest,
        queryset: QuerySet[DeadLetter],
        *,
        verb: str,
        done: str,
        act: Callable[..., services.Outcome],
    ) -> HttpResponse | None:
        """Ask why, then do it; nothing happens before the second page is sent."""
        problem = ""
        if "confirmed" in request.POST:
            try:
                outcome = act(
                    queryset.order_by("id").values_list("id", flat=True),
                    by=request.user.get_username(),
                    reason=request.POST.get("reason", "").strip(),
                    at=timezone.now(),
                )
            except ReasonMissing as error:
                problem = str(error)
            else:
                self._tell(request, outcome, done)
                return None
        count, first = queryset.count(), queryset.defer(*_LARGE)[:_MOST_SHOWN]
        context = {
            **self.admin_site.each_context(request),
            "title": f"{verb.capitalize()} dead letters",
            "opts": self.model._meta,
            "verb": verb,
            "count": count,
            "letters": [
                {
                    "type": self.shown_type(letter),
                    "service": letter.service,
                    "state": letter.state,
                    "order": letter.correlation_id or "–",
                    "problem": self.problem(letter),
                }
                for letter in first
            ],
            "more": max(0, count - _MOST_SHOWN),
            "problem": problem,
            "is_reason_required": verb == "discard",
            "selected": request.POST.getlist("_selected_action"),
            "select_across": request.POST.get("select_across", "0"),
        }
        return TemplateResponse(request, "admin/deadletters/why.html", context)

    def _tell(self, request: HttpRequest, outcome: services.Outcome, done: str) -> None:
        if outcome.done:
            self.message_user(request, f"{len(outcome.done)} dead letters: {done}.", messages.SUCCESS)
        refused = list(outcome.refused.items())
        for letter_id, why in refused[:_MOST_REASONS]:
            self.message_user(request, f"Letter {letter_id} stays as it is. {why}", messages.WARNING)
        if len(refused) > _MOST_REASONS:
            self.message_user(
                request, f"{len(refused) - _MOST_REASONS} more letters stay as they are.", messages.WARNING
            )

    @admin.display(description="type", ordering="type")
    def shown_type(self, letter: DeadLetter) -> str:
        return letter.type or "no type that can be read"

    @admin.display(description="attempt", ordering="attempt")
    def shown_attempt(self, letter: DeadLetter) -> str:
        return "–" if letter.attempt is None else str(letter.attempt)

    @admin.display(description="problem", ordering="exception")
    def problem(self, letter: DeadLetter) -> str:
        if not letter.is_failure_known:
            return "the service's database could not be asked yet"
        return Truncator(letter.exception or f"by the broker: {letter.reason or 'no reason given'}").chars(
            120
        )

    @admin.display(description="traceback")
    def shown_traceback(self, letter: DeadLetter) -> str:
        return format_html('<pre class="json">{}</pre>', letter.traceback or "–")

    @admin.display(description="letters like it")
    def shown_group(self, letter: DeadLetter) -> str:
        return page_of("deadletters_deadletter", str(letter.group), group=letter.group_id)

    @admin.display(description="first letter")
    def shown_follows(self, letter: DeadLetter) -> str:
        if letter.follows_id is None:
            return "–"
        return page_of("deadletters_deadletter", str(letter.follows_id), id=letter.follows_id)

    @admin.display(description="replays")
    def shown_replays(self, letter: DeadLetter) -> str:
        return _lines(
            f"by {replay.requested_by}, {replay.outcome}{_why(replay.reason)}"
            for replay in Replay.objects.filter(letter_id=letter.id).order_by("requested_at")
        )

    @admin.display(description="what was done")
    def shown_actions(self, letter: DeadLetter) -> str:
        return format_html_join(
            "",
            "<p>{} {}</p>",
            (
                (moment(action.at), f"{action.kind} by {action.by}{_why(action.reason)}")
                for action in letter.actions.order_by("id")
            ),
        )

    @admin.display(description="body")
    def shown_body(self, letter: DeadLetter) -> str:
        body = bytes(letter.body)
        try:
            return json_block(json.loads(body))
        except (ValueError, RecursionError):
            return format_html('<pre class="json">{}</pre>', body[:10_000].decode(errors="backslashreplace"))


def _masked_body(body: bytes) -> bytes:
    """The body without customers and tokens; hidden as a whole where it cannot be read, for then it cannot be told."""
    try:
        return json.dumps(masked(json.loads(body))).encode()
    except (ValueError, RecursionError):
        return HIDDEN.encode()


def _why(reason: str) -> str:
    return f": {reason}" if reason else ""


def _lines(lines: Any) -> str:
    return format_html_join("", "<p>{}</p>", ((line,) for line in lines)) or "–"
