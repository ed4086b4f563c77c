"""Edits of dead letters: what was changed, by whom and why; and a second person's yes or no."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html

from deadletters.admin.operator import VIEW_EDITS, forbidden, operator_of, page, reason_in, refuse, said
from deadletters.editing import edits
from deadletters.errors import DeadLetterError, NotPermitted
from deadletters.models import LetterEdit
from deadletters.permissions import APPROVE, SEE_PERSONAL_DATA, to_edit
from eventstore.admin_columns import Tone, state_column, time_column
from eventstore.admin_history import HistoryAdmin
from eventstore.admin_privacy import masked

STATE_TONES = {
    LetterEdit.State.PROPOSED: Tone.WAITING,
    LetterEdit.State.SENT: Tone.GOOD,
    LetterEdit.State.DECLINED: Tone.UNDONE,
}


OWN = "You have proposed it yourself: a second person has to approve it. You may take it back."


@admin.register(LetterEdit)
class LetterEditAdmin(HistoryAdmin):
    class Media:
        css = {"all": ("deadletters/mending.css",)}

    change_form_template = "admin/deadletters/mending/letter_edit.html"
    identifiers = ("id", "letter", "message_id")
    private_fields = ("before", "after")
    empty_sentence = "No letter has been edited: what came was sent as it came."

    list_display = (
        "shown_type",
        state_column("state", STATE_TONES),
        "proposed_by",
        time_column("proposed_at"),
        "reason",
        "decided_by",
        time_column("decided_at"),
    )
    list_filter = ("state", "proposed_at")
    search_fields = ("proposed_by", "decided_by", "reason")
    search_help_text = "The id of a letter, or of the edited message; or part of a name or reason"
    ordering = ("-proposed_at",)
    fields = (
        (state_column("state", STATE_TONES), "shown_letter"),
        ("proposed_by", time_column("proposed_at")),
        "reason",
        ("decided_by", time_column("decided_at")),
        "message_id",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[LetterEdit]:
        return (
            super()
            .get_queryset(request)
            .select_related("letter")
            .only(
                *(field.name for field in LetterEdit._meta.concrete_fields),
                "letter__type",
                "letter__message_id",
            )
        )

    def get_urls(self) -> list[Any]:
        return [
            path(
                f"<uuid:edit_id>/{verb}/",
                self.admin_site.admin_view(decide),
                {"verb": verb},
                name=f"deadletters_letteredit_{verb}",
            )
            for verb in DECISIONS
        ] + super().get_urls()

    @admin.display(description="type", ordering="letter__type")
    def shown_type(self, edit: LetterEdit) -> str:
        return edit.letter.type

    @admin.display(description="letter")
    def shown_letter(self, edit: LetterEdit) -> str:
        address = reverse("admin:deadletters_deadletter_change", args=[edit.letter_id])
        return format_html('<a href="{}">{}</a>', address, edit.letter)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        shown: LetterEdit = context["original"]  # as this person may read it
        context.update(
            title="Edit of a dead letter",
            subtitle=None,
            changes=edits.changes(shown.before, shown.after),
            verbs=[],
        )
        if shown.state == LetterEdit.State.PROPOSED:
            # What is hidden counts for who may approve, so that is asked of the edit as it is.
            whole = LetterEdit.objects.select_related("letter").get(id=shown.id)
            why_not = {verb: _why_not(verb, whole, request) for verb in DECISIONS}
            context.update(
                verbs=[verb for verb, why in why_not.items() if why is None],
                why_not=OWN if whole.proposed_by == request.user.get_username() else why_not["approve"],
            )
        return super().render_change_form(request, context, *args, **kwargs)


DECISIONS = {
    "approve": (edits.approve, "The edited message is sent: the letter closes when it has been handled."),
    "decline": (edits.decline, "The edit is declined. The letter is as it was, and nothing was sent."),
}


def decide(request: HttpRequest, edit_id: UUID, verb: str) -> HttpResponse:
    """GET asks; POST approves or declines. The refusals of POST are in the operators' log, which `edits` writes."""
    edit = LetterEdit.objects.select_related("letter").filter(id=edit_id).first()
    if edit is None:
        return said(
            request, f"There is no edit {edit_id}.", title="No such edit", status=HTTPStatus.NOT_FOUND
        )
    if not request.user.has_perm(VIEW_EDITS):
        return refuse(
            request,
            VIEW_EDITS,
            action=verb,
            subject=str(edit.letter),
            to=f"{verb} it",
            letter_id=edit.letter_id,
        )
    do, done = DECISIONS[verb]
    problem, reason = "", reason_in(request)
    if request.method == "POST":
        try:
            do(edit_id, operator=operator_of(request), reason=reason, at=timezone.now())
        except NotPermitted as error:
            return forbidden(request, _lacking(request, edit), to=f"{verb} it", why=str(error))
        except DeadLetterError as error:
            problem = str(error)
        else:
            messages.success(request, done)
            return redirect("admin:deadletters_letteredit_change", edit_id)
    elif (why := _why_not(verb, edit, request)) is not None:
        return forbidden(request, _lacking(request, edit), to=f"{verb} it", why=why)
    before, after = edit.before, edit.after
    if not request.user.has_perm(SEE_PERSONAL_DATA):
        before, after = masked(before), masked(after)
    context = {
        "title": f"{verb.capitalize()} an edit",
        "edit": edit,
        "verb": verb,
        "changes": edits.changes(before, after),
        "problem": problem,
        "reason": reason,
        "back": reverse("admin:deadletters_letteredit_change", args=[edit_id]),
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK
    return page(request, "decide", context, status=status)


def _why_not(verb: str, edit: LetterEdit, request: HttpRequest) -> str | None:
    why = edits.why_not_approve if verb == "approve" else edits.why_not_decline
    return why(edit, operator=operator_of(request))


def _lacking(request: HttpRequest, edit: LetterEdit) -> str:
    """The permission to ask for; empty where what is missing is a second person."""
    needed = [APPROVE, to_edit(edit.letter.type)]
    if edit.proposed_by != request.user.get_username():
        needed.append(SEE_PERSONAL_DATA)
    return next((name for name in needed if not request.user.has_perm(name)), "")
