"""The records of sagas: their state, their steps, and every message they received and sent."""

from typing import Any

from django.db import models
from django.db.models import Q

from sagas.decide import FINAL, NEEDS_A_PERSON, SagaStatus, StepStatus


def _choices(statuses: type[SagaStatus] | type[StepStatus]) -> list[tuple[str, str]]:
    return [(status.value, status.value) for status in statuses]


_FINAL = [status.value for status in SagaStatus if status in FINAL]
"""In a fixed order, as a set has another one in each process and migrations would never be up to date."""

_NEEDS_A_PERSON = [status.value for status in NEEDS_A_PERSON]


class SagaRecord(models.Model):
    """One saga. (`name`, `business_key`) is unique for ever."""

    id = models.UUIDField(primary_key=True)
    name = models.CharField(max_length=60)
    version = models.PositiveIntegerField()
    business_key = models.CharField(max_length=100)
    correlation_id = models.CharField(max_length=100)
    status = models.CharField(max_length=20, choices=_choices(SagaStatus))
    reason = models.CharField(max_length=60, blank=True)
    data = models.JSONField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "saga"
        constraints = [
            models.UniqueConstraint(fields=["name", "business_key"], name="one_saga_per_business_key"),
            models.CheckConstraint(
                condition=Q(status__in=[s.value for s in SagaStatus]), name="saga_status_is_known"
            ),
            models.CheckConstraint(
                condition=Q(status__in=_FINAL, finished_at__isnull=False)
                | ~Q(status__in=_FINAL) & Q(finished_at__isnull=True),
                name="finished_sagas_have_a_time",
            ),
        ]
        indexes = [
            # The admin's list: ORDER BY started_at DESC
            models.Index(fields=["-started_at"], name="saga_newest_first"),
            # Unfinished sagas: WHERE finished_at IS NULL
            models.Index(
                fields=["started_at"], condition=Q(finished_at__isnull=True), name="saga_unfinished"
            ),
            # The saga of an order: WHERE correlation_id = ...
            models.Index(fields=["correlation_id"], name="saga_by_correlation"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.business_key}"


class StepRecord(models.Model):
    """One step of one saga; see `sagas.decide` for the states and their moves."""

    saga = models.ForeignKey(SagaRecord, on_delete=models.CASCADE, related_name="steps")
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=60)
    status = models.CharField(max_length=20, choices=_choices(StepStatus))
    step_try = models.PositiveIntegerField(default=1)
    sendings = models.PositiveIntegerField(default=0)
    compensation = models.CharField(max_length=100, blank=True)
    sent_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    failure = models.CharField(max_length=200, blank=True)
    letter_id = models.UUIDField(null=True, help_text="The last dead letter of one of its commands.")
    problem = models.TextField(blank=True, db_default="", help_text="Why that became a dead letter.")
    discarded_letter_id = models.UUIDField(null=True, help_text="The last letter known to be discarded.")

    class Meta:
        verbose_name = "step"
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["saga", "position"], name="one_row_per_saga_and_position"),
            models.CheckConstraint(
                condition=Q(status__in=[s.value for s in StepStatus]), name="step_status_is_known"
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["sent", "undoing"]) | Q(deadline_at__isnull=False),
                name="awaited_steps_have_a_deadline",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=_NEEDS_A_PERSON)
                | Q(deadline_at__isnull=True, letter_id__isnull=False),
                name="steps_for_a_person_have_a_letter",
            ),
        ]
        indexes = [
            # Sagas that need a person: WHERE id IN (SELECT saga_id ... WHERE status IN ('held', 'stuck'))
            models.Index(
                fields=["saga"], condition=Q(status__in=_NEEDS_A_PERSON), name="step_needs_a_person"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.status}"


def sagas_for_a_person() -> models.QuerySet[StepRecord, Any]:
    """The ids of the sagas of which a step waits for somebody to decide."""
    return (
        StepRecord.objects.filter(status__in=NEEDS_A_PERSON)
        .order_by()
        .values_list("saga", flat=True)
        .distinct()
    )


class MessageRecord(models.Model):
    """A message that a saga received or sent."""

    class Direction(models.TextChoices):
        RECEIVED = "received", "received"
        SENT = "sent", "sent"

    saga = models.ForeignKey(SagaRecord, on_delete=models.CASCADE, related_name="messages")
    direction = models.CharField(max_length=10, choices=Direction)
    message_id = models.UUIDField()
    type = models.CharField(max_length=100)
    step = models.CharField(max_length=60, blank=True)
    body = models.JSONField()
    at = models.DateTimeField()

    class Meta:
        verbose_name = "message"
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.direction} {self.type}"
