"""What waits to be published, what was claimed once for ever, and what failed: one service at a time."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import Truncator

from eventstore.admin_by_service import ByServiceAdmin, ServiceChooser
from eventstore.admin_columns import Tone, badge, json_column, moment, page_of, state_column, time_column
from eventstore.admin_history import null_filter
from messaging.handling import policy_of
from messaging.models import (
    CircuitBreaker,
    FailedAttempt,
    HeldBackMessage,
    IdempotencyKey,
    OutboxMessage,
    SkippedEvents,
    StreamPosition,
)


def attempt_of(service: str, wire_type: str, attempt: int) -> str:
    """`attempt 3 of 8`, by the policy that the receiving service has now."""
    return f"attempt {attempt} of {policy_of(service, wire_type).attempts}"


def next_at(at: datetime) -> str:
    """`next in 5 min`, or that the time has come."""
    return format_html("next {}", moment(at)) if at > timezone.now() else "due"


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
        "waits_for",
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
        if message.waits_for:
            return badge(f"waits for {message.waits_for}", Tone.BAD)
        is_deadline = message.known_key is not None
        return badge("deadline", Tone.QUIET) if is_deadline else badge("waiting", Tone.WAITING)

    @admin.display(description="attempt")
    def attempt(self, message: OutboxMessage) -> str:
        if message.exchange:
            return "first sending"  # each receiver has a policy of its own
        attempt = attempt_of(message.routing_key, message.type, message.headers.get("attempt", 1))
        if message.waits_for:
            return format_html("{}, at the latest {}", attempt, moment(message.available_at))
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
    private_texts = ("exception", "traceback")
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
        then = "tried again" if is_over else format_html("next {}", moment(failed.next_attempt_at))
        return format_html("{} failed, {}", attempt, badge(then, Tone.WAITING))

    @admin.display(description="exception")
    def summary(self, failed: FailedAttempt) -> str:
        return Truncator(failed.exception).chars(120)

    @admin.display(description="traceback")
    def shown_traceback(self, failed: FailedAttempt) -> str:
        return format_html('<pre class="json">{}</pre>', failed.traceback)


@admin.register(CircuitBreaker)
class CircuitBreakerAdmin(ByServiceAdmin):
    service_lookup = "service"
    empty_sentence = "No gateway of this service has ever failed."

    list_display = (
        "gateway",
        state_column("state", {"open": Tone.BAD, "closed": Tone.GOOD}),
        "waiting",
        "failures",
        time_column("opened_at"),
        "next_probe",
        "summary",
    )
    list_filter = (ServiceChooser, "state")
    search_fields = ("gateway", "last_error")
    search_help_text = "Part of a gateway's name or of its last error"
    ordering = ("-state", "gateway")
    fields = (
        "service",
        "gateway",
        state_column("state", {"open": Tone.BAD, "closed": Tone.GOOD}),
        "waiting",
        "failures",
        time_column("opened_at"),
        "next_probe",
        "last_error",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        waiting = OutboxMessage.objects.filter(service=OuterRef("service"), waits_for=OuterRef("gateway"))
        counted = waiting.order_by().values("waits_for").annotate(number=Count("*")).values("number")
        breakers: QuerySet[Any] = super().get_queryset(request).annotate(waiting_messages=Subquery(counted))
        return breakers

    @admin.display(description="waiting messages")
    def waiting(self, breaker: Any) -> str:
        if not breaker.waiting_messages:
            return "none"
        return page_of(
            "messaging_outboxmessage",
            str(breaker.waiting_messages),
            service=breaker.service,
            waits_for=breaker.gateway,
        )

    @admin.display(description="probe")
    def next_probe(self, breaker: CircuitBreaker) -> str:
        now = timezone.now()
        if breaker.probe_at is None:
            return "–"
        if breaker.probing_until is not None and breaker.probing_until > now:
            return "under way"
        return next_at(breaker.probe_at) if breaker.probe_at > now else "with the next message"

    @admin.display(description="last error", ordering="last_error")
    def summary(self, breaker: CircuitBreaker) -> str:
        return Truncator(breaker.last_error).chars(120)


@admin.register(StreamPosition)
class StreamPositionAdmin(ByServiceAdmin):
    service_lookup = "consumer"
    empty_sentence = "This service consumes no such stream in order."

    list_display = ("stream", "last_sequence", "held_back")
    list_filter = (ServiceChooser,)
    search_fields = ("stream",)
    search_help_text = "A stream, such as payment-<order's id>, or part of it"
    ordering = ("-id",)
    fields = ("consumer", "stream", "last_sequence", "held_back")

    @admin.display(description="held back behind it")
    def held_back(self, position: StreamPosition) -> str:
        return page_of(
            "messaging_heldbackmessage",
            "of this stream",
            service=position.consumer,
            stream=position.stream,
        )


@admin.register(HeldBackMessage)
class HeldBackMessageAdmin(ByServiceAdmin):
    service_lookup = "consumer"
    identifiers = ("message_id", "stream")
    private_fields = ("body",)
    empty_sentence = "Nothing is held back: every event of these streams has been handled in its turn."

    list_display = ("stream", "sequence", "type", time_column("held_at"), "position")
    list_filter = (ServiceChooser, "held_at")
    search_fields = ("stream", "type")
    search_help_text = "A message id, or part of a stream or type"
    ordering = ("held_at", "sequence")
    fields = (
        "consumer",
        "stream",
        "sequence",
        "position",
        "type",
        "message_id",
        time_column("held_at"),
        json_column("body"),
        json_column("headers"),
    )

    @admin.display(description="handled so far")
    def position(self, held: HeldBackMessage) -> str:
        return page_of(
            "messaging_streamposition",
            "position of the stream",
            service=held.consumer,
            q=held.stream,
        )


@admin.register(SkippedEvents)
class SkippedEventsAdmin(ByServiceAdmin):
    service_lookup = "consumer"
    empty_sentence = "No event was given up here."

    list_display = (
        "stream",
        "first_sequence",
        "last_sequence",
        "reason",
        "skipped_by",
        time_column("skipped_at"),
    )
    list_filter = (ServiceChooser, "skipped_at")
    search_fields = ("stream", "reason", "skipped_by")
    search_help_text = "Part of a stream, a reason or a name"
    ordering = ("-skipped_at",)
    fields = ("consumer", *list_display)
