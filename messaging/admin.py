"""What waits to be published, what was claimed once for ever, and what failed: one service at a time."""

from datetime import datetime

from django.contrib import admin
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import Truncator

from eventstore.admin_by_service import ByServiceAdmin, ServiceChooser
from eventstore.admin_columns import Tone, badge, clock, json_column, page_of, state_column, time_column
from eventstore.admin_history import null_filter
from messaging.handling import policy_of
from messaging.models import FailedAttempt, IdempotencyKey, OutboxMessage


def attempt_of(service: str, wire_type: str, attempt: int) -> str:
    """`attempt 3 of 8`, by the policy that the receiving service has now."""
    return f"attempt {attempt} of {policy_of(service, wire_type).attempts}"


def next_at(at: datetime) -> str:
    """`next at 12:31:07`, or that the time has come."""
    return format_html("next at {}", clock(at)) if at > timezone.now() else "due"


@admin.register(OutboxMessage)
class OutboxMessageAdmin(ByServiceAdmin):
    service_lookup = "service"
    identifiers = ("message_id",)
    private_fields = ("body",)
    empty_sentence = "Nothing waits in this outbox: every message has been published."

    list_display = (
        "type",
        "condition",
        "attempt",
        "destination",
        time_column("available_at"),
        "failures",
        "last_error",
        time_column("created_at"),
    )
    list_filter = (ServiceChooser, "available_at", "created_at")
    search_fields = ("type", "routing_key", "known_key", "last_error")
    search_help_text = "A message id, or part of a type, routing key, known key or error"
    ordering = ("available_at", "id")
    fields = (
        "message_id",
        "type",
        "condition",
        "attempt",
        "destination",
        "known_key",
        time_column("available_at"),
        time_column("created_at"),
        "failures",
        "last_error",
        json_column("body"),
        json_column("headers"),
    )

    @admin.display(description="state")
    def condition(self, message: OutboxMessage) -> str:
        if message.failures:
            return badge("not taken yet", Tone.BAD)
        is_deadline = message.known_key is not None
        return badge("deadline", Tone.QUIET) if is_deadline else badge("waiting", Tone.WAITING)

    @admin.display(description="attempt")
    def attempt(self, message: OutboxMessage) -> str:
        if message.exchange:
            return "first sending"  # each receiver has a policy of its own
        attempt = attempt_of(message.routing_key, message.type, message.headers.get("attempt", 1))
        return format_html("{}, {}", attempt, next_at(message.available_at))

    @admin.display(description="goes to", ordering="routing_key")
    def destination(self, message: OutboxMessage) -> str:
        return f"{message.exchange or 'the queue'} → {message.routing_key}"


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ByServiceAdmin):
    service_lookup = "consumer"
    identifiers = ("message_id",)
    private_fields = ("request", "reply")
    empty_sentence = "This service has not claimed such a key: the message has not arrived there."

    list_display = (
        "type",
        state_column("state", {"started": Tone.WAITING, "finished": Tone.GOOD}),
        "key",
        "fence",
        time_column("claimed_at"),
        time_column("finished_at"),
    )
    list_filter = (ServiceChooser, "state", "claimed_at")
    search_fields = ("key", "type")
    search_help_text = "A message id, or part of a key (<saga>:<step>:<try>:action) or type"
    ordering = ("-claimed_at",)
    fields = (
        "consumer",
        "key",
        "type",
        state_column("state", {"started": Tone.WAITING, "finished": Tone.GOOD}),
        "message_id",
        "failures",
        time_column("claimed_at"),
        time_column("finished_at"),
        time_column("lease_until"),
        "fence",
        json_column("request"),
        json_column("reply"),
    )

    @admin.display(description="failed attempts")
    def failures(self, key: IdempotencyKey) -> str:
        return page_of(
            "messaging_failedattempt",
            "of this message",
            service=key.consumer,
            message_id=key.message_id,
        )


@admin.register(FailedAttempt)
class FailedAttemptAdmin(ByServiceAdmin):
    service_lookup = "consumer"
    identifiers = ("message_id", "correlation_id")
    empty_sentence = "No attempt has failed here."

    list_display = (
        "type",
        "outcome",
        "summary",
        time_column("failed_at"),
        time_column("next_attempt_at"),
    )
    list_filter = (
        ServiceChooser,
        null_filter("next_attempt_at", "outcome", null="dead letter", given="tried again"),
        "failed_at",
    )
    search_fields = ("type", "exception")
    search_help_text = "A message id, an order's id, or part of a type or exception"
    ordering = ("-failed_at",)
    fields = (
        "consumer",
        "type",
        "message_id",
        "correlation_id",
        "replay_id",
        "outcome",
        time_column("failed_at"),
        time_column("next_attempt_at"),
        "exception",
        "shown_traceback",
    )

    @admin.display(description="outcome", ordering="attempt")
    def outcome(self, failed: FailedAttempt) -> str:
        attempt = attempt_of(failed.consumer, failed.type, failed.attempt)
        if failed.next_attempt_at is None:
            return format_html("{} failed: {}", attempt, badge("dead letter", Tone.BAD))
        is_over = failed.next_attempt_at <= timezone.now()
        then = "tried again" if is_over else format_html("next at {}", clock(failed.next_attempt_at))
        return format_html("{} failed, {}", attempt, badge(then, Tone.WAITING))

    @admin.display(description="exception", ordering="exception")
    def summary(self, failed: FailedAttempt) -> str:
        return Truncator(failed.exception).chars(120)

    @admin.display(description="traceback")
    def shown_traceback(self, failed: FailedAttempt) -> str:
        return format_html('<pre class="json">{}</pre>', failed.traceback)
