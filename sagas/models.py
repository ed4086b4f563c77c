"""The records of sagas: their state, their steps, and every message they received and sent."""

from typing import Any

from django.db import models
from django.db.models import Q

from sagas.state import FINAL, HAS_A_DEADLINE, NEEDS_A_PERSON, SagaStatus, StepStatus
from sagas.switches import SwitchKind


def _choices(statuses: type[SagaStatus] | type[StepStatus] | type[SwitchKind]) -> list[tuple[str, str]]:
    return [(status.value, status.value) for status in statuses]


_FINAL = [status.value for status in SagaStatus if status in FINAL]
"""In a fixed order, as a set has another one in each process and migrations would never be up to date."""

_NEEDS_A_PERSON = [status.value for status in NEEDS_A_PERSON]
_HAS_A_DEADLINE = [status.value for status in HAS_A_DEADLINE]


class SagaRecord(models.Model):
    """One saga. (`name`, `business_key`) is unique for ever, but for the forks that operators make: the generations.

    The last columns but the times say what `sagas.state` makes of the steps, so that a list needs no other table.
    """

    id = models.UUIDField(primary_key=True)
    name = models.CharField(max_length=60)
    version = models.PositiveIntegerField()
    business_key = models.CharField(max_length=100)
    generation = models.PositiveIntegerField(db_default=1, help_text="1, and one more for each fork.")
    forked_from = models.ForeignKey(
        "self",
        db_index=False,
        null=True,
        on_delete=models.PROTECT,
        related_name="forks",
        help_text="The saga it was run again from.",
    )
    correlation_id = models.CharField(max_length=100)
    status = models.CharField(max_length=20, choices=_choices(SagaStatus))
    reason = models.CharField(max_length=60, blank=True)
    data = models.JSONField(help_text="What has been said, by the step that said it; the start under ''.")
    current = models.TextField(
        blank=True, db_default="", help_text="The steps it is at, separated by spaces."
    )
    sendings = models.PositiveIntegerField(
        db_default=0, help_text="Of its steps under way the most sendings."
    )
    needs_a_person = models.BooleanField(db_default=False, help_text="A step is held or stuck.")
    is_overdue = models.BooleanField(db_default=False, help_text="An answer was awaited in vain.")
    is_withheld = models.BooleanField(db_default=False, help_text="A pause switch holds something back.")
    paused_at = models.DateTimeField(null=True, help_text="Since when a person has stopped it.")
    stopped_at = models.DateTimeField(
        null=True, help_text="Since when its own deadline stands still for a pause switch."
    )
    deadline_at = models.DateTimeField(null=True, help_text="Until when its pivot has to be sent.")
    look_at = models.DateTimeField(null=True, help_text="The next deadline of all.")
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "saga"
        permissions = [
            ("steer_sagarecord", "Can pause and resume sagas and have steps sent again"),
            ("mend_sagarecord", "Can skip steps and mark compensations as done by hand"),
            ("cancel_sagarecord", "Can have sagas undone"),
            ("fork_sagarecord", "Can run sagas again"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["name", "business_key", "generation"], name="one_saga_per_business_key"
            ),
            models.CheckConstraint(
                condition=Q(generation=1) | Q(forked_from__isnull=False), name="later_generations_are_forks"
            ),
            models.CheckConstraint(
                condition=Q(status__in=[s.value for s in SagaStatus]), name="saga_status_is_known"
            ),
            models.CheckConstraint(
                condition=Q(status__in=_FINAL, finished_at__isnull=False)
                | ~Q(status__in=_FINAL) & Q(finished_at__isnull=True),
                name="finished_sagas_have_a_time",
            ),
            models.CheckConstraint(
                condition=Q(finished_at__isnull=True)
                | Q(
                    needs_a_person=False,
                    is_overdue=False,
                    is_withheld=False,
                    current="",
                    look_at__isnull=True,
                ),
                name="finished_sagas_wait_for_nothing",
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
            # The search: WHERE business_key LIKE 'beginning%', or = ...
            models.Index(fields=["business_key"], opclasses=["varchar_pattern_ops"], name="saga_by_key"),
            # The filters by state and by name, newest first, and the counts by state: GROUP BY name, status
            models.Index(fields=["status", "name", "-started_at"], name="saga_by_status"),
            # What a person has to look at: WHERE needs_a_person, WHERE is_overdue
            models.Index(fields=["-started_at"], condition=Q(needs_a_person=True), name="saga_for_a_person"),
            models.Index(fields=["-started_at"], condition=Q(is_overdue=True), name="saga_overdue"),
            # What a person has paused: WHERE paused_at IS NOT NULL AND finished_at IS NULL
            models.Index(
                fields=["-started_at"],
                condition=Q(paused_at__isnull=False, finished_at__isnull=True),
                name="saga_paused",
            ),
            # The filter by reason, newest first: WHERE reason = 'card_declined'
            models.Index(fields=["reason", "-started_at"], condition=~Q(reason=""), name="saga_by_reason"),
            # What goes on when a pause switch is lifted: WHERE is_withheld
            models.Index(fields=["id"], condition=Q(is_withheld=True), name="saga_withheld"),
            # What was run again: WHERE forked_from_id = ...
            models.Index(fields=["forked_from"], condition=Q(forked_from__isnull=False), name="saga_forks"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.business_key}"


class StepRecord(models.Model):
    """One step of one saga; see `sagas.decide` for the states and their moves.

    Its status is in no index, so that moving on touches none; the saga's own row says who needs a person.
    """

    saga = models.ForeignKey(
        SagaRecord,
        on_delete=models.CASCADE,
        related_name="steps",
        db_index=False,  # the constraint below begins with it
    )
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=60)
    status = models.CharField(max_length=20, choices=_choices(StepStatus))
    step_try = models.PositiveIntegerField(default=1)
    sendings = models.PositiveIntegerField(default=0)
    questions = models.PositiveIntegerField(db_default=0, help_text="How often its service was asked.")
    key_saga_id = models.UUIDField(null=True, help_text="Where a fork took it over: whose keys it ran under.")
    compensation = models.CharField(max_length=100, blank=True)
    sent_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField(null=True)
    counted_at = models.DateTimeField(
        null=True, help_text="Until when the deadline was moved on for switches."
    )
    is_frozen = models.BooleanField(
        db_default=False, help_text="A pause switch lets its deadline stand still."
    )
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
                condition=~Q(status__in=_HAS_A_DEADLINE) | Q(deadline_at__isnull=False),
                name="awaited_steps_have_a_deadline",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=_NEEDS_A_PERSON) | Q(deadline_at__isnull=True),
                name="steps_for_a_person_have_no_deadline",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.status}"


def sagas_for_a_person() -> models.QuerySet[SagaRecord, Any]:
    """The ids of the sagas of which a step waits for somebody to decide."""
    return SagaRecord.objects.filter(needs_a_person=True).order_by().values_list("id", flat=True)


class MessageRecord(models.Model):
    """A message that a saga received or sent, a deadline that was missed, or something that a person did to it.

    In the order of their ids they are all that the saga was decided on, and all that came of it.
    """

    class Direction(models.TextChoices):
        RECEIVED = "received", "received"
        SENT = "sent", "sent"
        TIME = "time", "a deadline was missed"
        PERSON = "person", "a person acted"

    saga = models.ForeignKey(SagaRecord, on_delete=models.CASCADE, related_name="messages")
    direction = models.CharField(max_length=10, choices=Direction)
    message_id = models.UUIDField()
    type = models.CharField(max_length=100)
    step = models.CharField(max_length=60, blank=True)
    body = models.JSONField()
    at = models.DateTimeField()
    noted_at = models.DateTimeField(null=True, help_text="When the saga took it in, or sent it.")

    class Meta:
        verbose_name = "message"
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.direction} {self.type}"


class PauseSwitch(models.Model):
    """Commands that are not handed out until it is lifted; see `sagas.switches`. What is lifted is kept as history."""

    id = models.UUIDField(primary_key=True)
    kind = models.TextField(choices=_choices(SwitchKind))
    name = models.TextField(help_text="Such as checkout.ship, shipping, or shipping.book_shipment.v1.")
    set_by = models.TextField(help_text="A person's name, or that of a circuit breaker.")
    is_automatic = models.BooleanField(db_default=False, help_text="A circuit breaker has set it.")
    reason = models.TextField()
    set_at = models.DateTimeField()
    lapses_at = models.DateTimeField(null=True, help_text="When it is lifted by itself.")
    lifted_at = models.DateTimeField(null=True)
    lifted_by = models.TextField(blank=True, db_default="")

    class Meta:
        verbose_name = "pause switch"
        verbose_name_plural = "pause switches"
        default_permissions = ("view",)
        permissions = [("set_pauseswitch", "Can set and lift pause switches")]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "name"], condition=Q(lifted_at__isnull=True), name="one_switch_set_per_name"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=[kind.value for kind in SwitchKind]), name="switch_kind_is_known"
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="switches_have_a_reason"),
            models.CheckConstraint(
                condition=Q(lifted_at__isnull=True) | ~Q(lifted_by=""), name="lifted_switches_name_somebody"
            ),
        ]
        indexes = [
            # The list, and those lifted not long ago, which deadlines are moved on for: WHERE lifted_at > ...
            models.Index(fields=["-set_at"], name="switch_newest_first"),
            models.Index(fields=["lifted_at"], name="switch_lifted"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"
