"""Sagas: how far each has come, what it waits for, and every message that it received and sent."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from contracts import reasons
from deadletters.models import DeadLetter
from eventstore.admin_columns import (
    Tone,
    badge,
    duration,
    json_block,
    moment,
    page_for,
    page_of,
    state_column,
    time_column,
)
from eventstore.admin_history import HistoryAdmin, choice_filter, null_filter
from eventstore.admin_privacy import masked
from sagas.models import MessageRecord, SagaRecord, StepRecord, sagas_for_a_person
from sagas.state import NEEDS_A_PERSON, SagaStatus, StepStatus

REASONS = (
    reasons.OUT_OF_STOCK,
    reasons.CARD_DECLINED,
    reasons.UNDELIVERABLE,
    reasons.CAPTURE_REFUSED,
    reasons.STEP_OVERDUE,
    reasons.STEP_FAILED,
    reasons.SAGA_OVERDUE,
    reasons.CANCELLED_BY_OPERATOR,
    reasons.RUN_AGAIN,
    reasons.SHIPMENT_LEFT,
)
SAGA_TONES = {
    SagaStatus.RUNNING: Tone.WAITING,
    SagaStatus.COMPENSATING: Tone.WAITING,
    SagaStatus.COMPLETED: Tone.GOOD,
    SagaStatus.CANCELLED: Tone.UNDONE,
}
STEP_TONES = {
    StepStatus.PENDING: Tone.QUIET,
    StepStatus.SENT: Tone.WAITING,
    StepStatus.DONE: Tone.GOOD,
    StepStatus.REFUSED: Tone.BAD,
    StepStatus.OVERDUE: Tone.BAD,
    StepStatus.FAILED: Tone.BAD,
    StepStatus.HELD: Tone.BAD,
    StepStatus.UNDOING: Tone.WAITING,
    StepStatus.UNDONE: Tone.UNDONE,
    StepStatus.STUCK: Tone.BAD,
}
_AWAITED = (StepStatus.SENT, StepStatus.UNDOING)


class NeedsAPerson(admin.SimpleListFilter):
    """Sagas of which a command is a dead letter and a step waits for somebody to decide."""

    title = "person"
    parameter_name = "needs_a_person"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "needs a person")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[SagaRecord]) -> QuerySet[SagaRecord]:
        if self.value() != "yes":
            return queryset
        return queryset.filter(id__in=sagas_for_a_person())


@admin.register(SagaRecord)
class SagaRecordAdmin(HistoryAdmin):
    identifiers = ("id", "correlation_id", "business_key")
    private_fields = ("data",)
    empty_sentence = "No saga: the event that starts it has not arrived yet."

    list_display = (
        "business_key",
        "name",
        state_column("status", SAGA_TONES),
        "shown_reason",
        "standing",
        time_column("started_at"),
        "took",
    )
    list_filter = (
        NeedsAPerson,
        "status",
        null_filter("finished_at", "end", null="under way", given="finished"),
        choice_filter("reason", REASONS),
        "started_at",
    )
    search_fields = ("business_key", "correlation_id", "name")
    search_help_text = "A saga's or an order's id, or part of one"
    ordering = ("-started_at",)
    fields = (
        ("order_link", "id"),
        ("name", "version"),
        (state_column("status", SAGA_TONES), "shown_reason"),
        (time_column("started_at"), time_column("finished_at"), "took"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[SagaRecord]:
        return super().get_queryset(request).prefetch_related("steps")

    @admin.display(description="reason", ordering="reason")
    def shown_reason(self, saga: SagaRecord) -> str:
        return saga.reason.replace("_", " ") or "–"

    @admin.display(description="took")
    def took(self, saga: SagaRecord) -> str:
        return duration(saga.started_at, saga.finished_at)

    @admin.display(description="order")
    def order_link(self, saga: SagaRecord) -> str:
        return page_of("orders_order", saga.correlation_id, id=saga.correlation_id)

    @admin.display(description="steps")
    def standing(self, saga: SagaRecord) -> str:
        """Whom or what it waits for; else how many steps were done, or undone."""
        steps = list(saga.steps.all())
        exhausted = [f"{step.name} ({step.status})" for step in steps if step.status in NEEDS_A_PERSON]
        if exhausted:
            return "needs a person for " + ", ".join(exhausted)
        awaited = [
            f"{step.name} ({step.status}, sent {step.sendings}×)" for step in steps if step.status in _AWAITED
        ]
        if awaited:
            return "waits for " + ", ".join(awaited)
        counted = [(status, sum(step.status == status for step in steps)) for status in StepStatus]
        return ", ".join(f"{count} {status.value}" for status, count in counted if count) or "–"

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        saga: SagaRecord = kwargs["obj"]
        is_hidden = self.hides_from(request)
        steps = list(saga.steps.all())
        letters = dict(
            DeadLetter.objects.filter(
                id__in=[step.letter_id for step in steps if step.letter_id]
            ).values_list("id", "state")
        )
        context.update(
            steps=[_step(step, letters) for step in steps],
            messages_of_saga=[
                _message(message, user=request.user, is_hidden=is_hidden)
                for message in saga.messages.order_by("id")
            ],
            saga_data=json_block(saga.data),
        )
        return super().render_change_form(request, context, *args, **kwargs)


def _step(step: StepRecord, letters: dict[UUID, str]) -> dict[str, Any]:
    """`letters` are the states of those that are stored; of one that was pruned the step tells what it was told."""
    status = StepStatus(step.status)
    told = "discarded" if step.letter_id == step.discarded_letter_id else ""
    return {
        "position": step.position + 1,
        "name": step.name,
        "status": badge(status.value, STEP_TONES[status]),
        "sendings": step.sendings or "–",
        "compensation": step.compensation or "none",
        "sent": moment(step.sent_at, is_precise=True),
        "deadline": moment(step.deadline_at, is_precise=True),
        "finished": moment(step.finished_at, is_precise=True),
        "took": duration(step.sent_at, step.finished_at),
        "failure": step.failure.replace("_", " ") or "–",
        "problem": step.problem,
        "letter": step.letter_id
        and page_of("deadletters_deadletter", f"dead letter {step.letter_id}", id=step.letter_id),
        "letter_state": step.letter_id and letters.get(step.letter_id, told),
    }


def _message(message: MessageRecord, *, user: Any, is_hidden: bool) -> dict[str, Any]:
    is_sent = message.direction == MessageRecord.Direction.SENT
    receiver = message.type.split(".", 1)[0] if is_sent else "sagas"
    return {
        "direction": badge("→ sent", Tone.WAITING) if is_sent else badge("← received", Tone.QUIET),
        "type": message.type,
        "step": message.step or "–",
        "at": moment(message.at, is_precise=True),
        "message_id": message.message_id,
        "body": json_block(masked(message.body) if is_hidden else message.body),
        "key": page_for(
            user,
            "messaging_idempotencykey",
            f"key in {receiver}",
            service=receiver,
            message_id=message.message_id,
        ),
        "failures": page_for(
            user,
            "messaging_failedattempt",
            "failed attempts",
            service=receiver,
            message_id=message.message_id,
        ),
    }
