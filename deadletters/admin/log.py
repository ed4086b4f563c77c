"""The operators' log: who did what, when and why, and who was refused what. Nobody changes it."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.text import Truncator

from deadletters.models import DeskEntry
from eventstore.admin_columns import Tone, state_column, time_column
from eventstore.admin_history import HistoryAdmin, choice_filter

ACTIONS = (
    "replay",
    "discard",
    "restore",
    "pause",
    "resume",
    "cancel",
    "dry run",
    "edit",
    "propose",
    "approve",
    "decline",
    "retry",
    "skip",
    "mark_undone",
    "fork",
    "set_switch",
    "lift_switch",
)
OUTCOME_TONES = {DeskEntry.Outcome.DONE: Tone.GOOD, DeskEntry.Outcome.REFUSED: Tone.BAD}


class ByPerson(admin.SimpleListFilter):
    """Everybody's, or one's own; another person's entries are found by a name in the search."""

    title = "person"
    parameter_name = "person"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [("me", "by me"), ("others", "by others")]

    def queryset(self, request: Any, queryset: Any) -> Any:
        name = request.user.get_username()
        if self.value() == "me":
            return queryset.filter(by=name)
        return queryset.exclude(by=name) if self.value() == "others" else queryset


@admin.register(DeskEntry)
class DeskEntryAdmin(HistoryAdmin):
    identifiers = ("letter_id", "job_id", "saga_id")
    empty_sentence = "Nobody has done anything at the desk yet, and nobody was refused anything."

    list_display = (
        time_column("at"),
        "by",
        "action",
        state_column("outcome", OUTCOME_TONES),
        "shown_subject",
        "shown_letters",
        "shown_reason",
        "shown_detail",
        "shown_link",
    )
    list_filter = ("outcome", choice_filter("action", ACTIONS), ByPerson, "at")
    search_fields = ("by", "subject", "reason", "detail")
    search_help_text = "The id of a letter or a job; or part of a name, of what it was done to, or of why"
    ordering = ("-at", "-id")
    fields = (
        (time_column("at"), "by"),
        ("action", state_column("outcome", OUTCOME_TONES)),
        "subject",
        "shown_letters",
        "reason",
        "detail",
        "shown_link",
    )

    @admin.display(description="subject", ordering="subject")
    def shown_subject(self, entry: DeskEntry) -> str:
        return Truncator(entry.subject).chars(90)

    @admin.display(description="letters")
    def shown_letters(self, entry: DeskEntry) -> str:
        if entry.letters is None:
            return "–"
        return f"{entry.letters}, and {entry.refused} stayed" if entry.refused else str(entry.letters)

    @admin.display(description="reason")
    def shown_reason(self, entry: DeskEntry) -> str:
        return Truncator(entry.reason or "–").chars(90)

    @admin.display(description="detail")
    def shown_detail(self, entry: DeskEntry) -> str:
        return Truncator(entry.detail or "–").chars(120)

    @admin.display(description="page")
    def shown_link(self, entry: DeskEntry) -> str:
        if entry.job_id is not None:
            return _link("admin:deadletters_letterjob_change", entry.job_id, "job")
        if entry.letter_id is not None:
            return _link("admin:deadletters_deadletter_change", entry.letter_id, "letter")
        return "–"


def _link(page: str, row: UUID, text: str) -> str:
    """A letter or job that was pruned meanwhile is answered by the admin itself, in words."""
    return format_html('<a href="{}">{}</a>', reverse(page, args=[row]), text)
