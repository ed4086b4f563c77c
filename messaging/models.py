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

    class Meta:
        verbose_name = "outbox message"
        constraints = [models.UniqueConstraint(fields=["known_key"], name="one_outbox_row_per_known_key")]
        indexes = [
            # The relay's claim: WHERE available_at <= now() ORDER BY available_at, id FOR UPDATE SKIP LOCKED
            models.Index(fields=["available_at", "id"], name="outbox_due_first"),
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
