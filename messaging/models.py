"""The bookkeeping of messages, in every service's database."""

from django.db import models
from django.db.models import Q


class OutboxMessage(models.Model):
    """A message that will be published once `available_at` has come. Published rows are deleted."""

    message_id = models.UUIDField()
    known_key = models.TextField(
        null=True,
        help_text="A name under which its writer can find the row again, to move or delete it.",
    )
    service = models.TextField(help_text="The service that sends it.")
    type = models.TextField()
    exchange = models.TextField(
        blank=True, help_text="Empty: straight to the queue named by the routing key."
    )
    routing_key = models.TextField()
    headers = models.JSONField()
    body = models.JSONField()
    available_at = models.DateTimeField()
    created_at = models.DateTimeField()
    failures = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True, default="")
    waits_for = models.TextField(
        blank=True, db_default="", help_text="The gateway whose circuit breaker has to close first."
    )

    class Meta:
        verbose_name = "outbox message"
        constraints = [models.UniqueConstraint(fields=["known_key"], name="one_outbox_row_per_known_key")]
        indexes = [
            # The relay's claim: WHERE available_at <= now() ORDER BY available_at, id FOR UPDATE SKIP LOCKED
            models.Index(fields=["available_at", "id"], name="outbox_due_first"),
            # When a breaker closes: UPDATE ... WHERE waits_for = ... AND service = ...
            # While it is open, for each message: SELECT min(available_at) WHERE waits_for = ... AND service = ...
            models.Index(
                fields=["waits_for", "service", "available_at"],
                condition=~Q(waits_for=""),
                name="outbox_waiting_by_date",
            ),
            # What /metrics counts: WHERE failures > 0
            models.Index(fields=["service"], condition=Q(failures__gt=0), name="outbox_refused"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.message_id}"


class IdempotencyKey(models.Model):
    """What a consumer has taken on, once for ever. The reply is kept, so that a duplicate can be answered."""

    class State(models.TextChoices):
        STARTED = "started", "a gateway is being asked"
        FINISHED = "finished", "finished"

    consumer = models.TextField()
    key = models.TextField()
    state = models.TextField(choices=State)
    message_id = models.UUIDField()
    type = models.TextField()
    request = models.JSONField(null=True, help_text="What the gateway is asked, while the call is open.")
    lease_until = models.DateTimeField(null=True, help_text="Until then nobody else may repeat the call.")
    fence = models.PositiveIntegerField(
        default=0, help_text="Counts who holds the call; only the last may store."
    )
    reply = models.JSONField(null=True)
    claimed_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "idempotency key"
        constraints = [
            models.UniqueConstraint(fields=["consumer", "key"], name="one_claim_per_consumer_and_key"),
            models.CheckConstraint(
                condition=Q(state="finished") | Q(lease_until__isnull=False), name="started_has_a_lease"
            ),
        ]
        indexes = [
            # The admin's newest first: ORDER BY claimed_at DESC
            models.Index(fields=["-claimed_at"], name="key_newest_first"),
            # What /metrics counts: WHERE state = 'started' AND lease_until < now()
            models.Index(fields=["lease_until"], condition=Q(state="started"), name="key_lease_ends_first"),
        ]

    def __str__(self) -> str:
        return f"{self.consumer} {self.key}"


class FailedAttempt(models.Model):
    """One delivery that a handler could not finish, and when it is tried again."""

    consumer = models.TextField()
    message_id = models.UUIDField()
    replay_id = models.UUIDField(null=True)
    attempt = models.PositiveIntegerField()
    type = models.TextField()
    correlation_id = models.TextField(blank=True)
    exception = models.TextField()
    traceback = models.TextField()
    failed_at = models.DateTimeField()
    next_attempt_at = models.DateTimeField(null=True, help_text="Empty: given up, now a dead letter.")

    class Meta:
        verbose_name = "failed attempt"
        constraints = [
            models.UniqueConstraint(
                fields=["consumer", "message_id", "replay_id", "attempt"],
                nulls_distinct=False,
                name="one_record_per_attempt",
            )
        ]
        indexes = [
            # The admin's newest first: ORDER BY failed_at DESC
            models.Index(fields=["-failed_at"], name="failure_newest_first"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.message_id}, attempt {self.attempt}"


class CircuitBreaker(models.Model):
    """Whether a gateway is asked at all. While it is open, messages wait and one probe at a time tests the water."""

    class State(models.TextChoices):
        CLOSED = "closed", "closed: asked as usual"
        OPEN = "open", "open: messages wait"

    service = models.TextField()
    gateway = models.TextField()
    state = models.TextField(choices=State, db_default=State.CLOSED)
    failures = models.PositiveIntegerField(db_default=0, help_text="In a row; a success sets it back.")
    opened_at = models.DateTimeField(null=True)
    probe_at = models.DateTimeField(null=True, help_text="From then on the next probe may be made.")
    probing_until = models.DateTimeField(null=True, help_text="Until then nobody else makes a probe.")
    last_error = models.TextField(blank=True, db_default="")

    class Meta:
        verbose_name = "circuit breaker"
        constraints = [
            models.UniqueConstraint(fields=["service", "gateway"], name="one_breaker_per_gateway"),
            models.CheckConstraint(
                condition=Q(state="closed") | Q(opened_at__isnull=False, probe_at__isnull=False),
                name="open_breakers_have_a_probe",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.gateway}: {self.state}"


class StreamPosition(models.Model):
    """How far an ordered consumer has come in one stream: everything up to `last_sequence` is handled."""

    consumer = models.TextField()
    stream = models.TextField()
    last_sequence = models.PositiveIntegerField()

    class Meta:
        verbose_name = "stream position"
        constraints = [
            models.UniqueConstraint(
                fields=["consumer", "stream"], name="one_position_per_consumer_and_stream"
            )
        ]

    def __str__(self) -> str:
        return f"{self.consumer} {self.stream}: {self.last_sequence}"


class HeldBackMessage(models.Model):
    """An event that came before its predecessor in the stream. It goes on when the gap has closed."""

    consumer = models.TextField()
    stream = models.TextField()
    sequence = models.PositiveIntegerField()
    message_id = models.UUIDField()
    type = models.TextField()
    headers = models.JSONField()
    body = models.JSONField()
    held_at = models.DateTimeField()

    class Meta:
        verbose_name = "held-back message"
        constraints = [
            models.UniqueConstraint(
                fields=["consumer", "stream", "sequence"], name="one_held_back_per_place_in_a_stream"
            )
        ]
        indexes = [
            # The desk's oldest gaps: WHERE held_at < ... ORDER BY held_at
            models.Index(fields=["held_at"], name="held_back_oldest_first"),
        ]

    def __str__(self) -> str:
        return f"{self.consumer} {self.stream} {self.sequence}"


class SkippedEvents(models.Model):
    """Events of a stream that an operator has given up, so that those behind go on. They are never handled."""

    consumer = models.TextField()
    stream = models.TextField()
    first_sequence = models.PositiveIntegerField()
    last_sequence = models.PositiveIntegerField()
    reason = models.TextField()
    skipped_by = models.TextField()
    skipped_at = models.DateTimeField()

    class Meta:
        verbose_name = "skipped events"
        verbose_name_plural = "skipped events"
        constraints = [
            models.UniqueConstraint(
                fields=["consumer", "stream", "first_sequence"], name="skipped_once_from_a_place"
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="skipping_has_a_reason"),
            models.CheckConstraint(
                condition=Q(last_sequence__gte=models.F("first_sequence")), name="skipped_at_least_one"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.consumer} {self.stream} {self.first_sequence} to {self.last_sequence}"


class KeyRetention(models.Model):
    """From when on a service has kept every idempotency key. An older message is not run: its key may be gone."""

    service = models.TextField(primary_key=True)
    keys_kept_since = models.DateTimeField()
    raised_at = models.DateTimeField(help_text="Keys are deleted only some time after the limit was raised.")

    class Meta:
        verbose_name = "key retention"

    def __str__(self) -> str:
        return f"{self.service}: {self.keys_kept_since}"
