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

from deadletters import edits
from deadletters.admin_operator import APPROVE, SEE_PERSONAL_DATA, forbidden, operator_of, page, refuse, said
from deadletters.errors import DeadLetterError, NotPermitted
from deadletters.models import LetterEdit
from eventstore.admin_columns import Tone, state_column, time_column
from eventstore.admin_history import HistoryAdmin
from eventstore.admin_privacy import masked

STATE_TONES = {
    LetterEdit.State.PROPOSED: Tone.WAITING,
    LetterEdit.State.SENT: Tone.GOOD,
    LetterEdit.State.DECLINED: Tone.UNDONE,
}
OWN = "You have proposed this edit yourself: a second person has to approve or decline it."


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
        edit: LetterEdit = context["original"]
        is_proposed = edit.state == LetterEdit.State.PROPOSED
        is_own = edit.proposed_by == request.user.get_username()
        context.update(
            title="Edit of a dead letter",
            subtitle=None,
            changes=edits.changes(edit.before, edit.after),
            may_decide=is_proposed and not is_own and request.user.has_perm(APPROVE),
            why_not=_why_not(request, is_own=is_own) if is_proposed else "",
        )
        return super().render_change_form(request, context, *args, **kwargs)


DECISIONS = {
    "approve": (edits.approve, "The edited message is sent: the letter closes when it has been handled."),
    "decline": (edits.decline, "The edit is declined. The letter is as it was, and nothing was sent."),
}


def decide(request: HttpRequest, edit_id: UUID, verb: str) -> HttpResponse:
    """GET asks; POST approves or declines. The refusals of POST are in the operators' log."""
    edit = LetterEdit.objects.select_related("letter").defer("letter__body").filter(id=edit_id).first()
    if edit is None:
        return said(
            request, f"There is no edit {edit_id}.", title="No such edit", status=HTTPStatus.NOT_FOUND
        )
    do, done = DECISIONS[verb]
    may_approve, sees_all = request.user.has_perm(APPROVE), request.user.has_perm(SEE_PERSONAL_DATA)
    if may_approve and not sees_all and _hides_changes(edit):
        return refuse(
            request,
            SEE_PERSONAL_DATA,
            action=verb,
            subject=str(edit),
            to=f"{verb} this edit",
            why="It changes a payment token or what is said of a customer, which you may not read; so you cannot "
            "decide on it either.",
            letter_id=edit.letter_id,
        )
    problem, reason = "", request.POST.get("reason", "").strip()
    if request.method == "POST":
        try:
            do(edit_id, operator=operator_of(request), reason=reason, at=timezone.now())
        except NotPermitted as error:
            return forbidden(request, APPROVE, to=f"{verb} edits", why=str(error))
        except DeadLetterError as error:
            problem = str(error)
        else:
            messages.success(request, done)
            return redirect("admin:deadletters_letteredit_change", edit_id)
    elif not may_approve:
        return forbidden(request, APPROVE, to=f"{verb} edits")
    elif edit.proposed_by == request.user.get_username():
        return said(request, OWN, title="Not by yourself", status=HTTPStatus.FORBIDDEN)
    before, after = edit.before, edit.after
    if not sees_all:
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


def _hides_changes(edit: LetterEdit) -> bool:
    """Whether something was changed that is hidden from whoever may not read personal data."""
    shown = edits.changes(masked(edit.before), masked(edit.after))
    return len(shown) != len(edits.changes(edit.before, edit.after))


def _why_not(request: HttpRequest, *, is_own: bool) -> str:
    if is_own:
        return OWN
    if not request.user.has_perm(APPROVE):
        return f"It waits for somebody with the permission {APPROVE}."
    return ""
