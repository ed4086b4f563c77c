"""What operators do with many letters, or with an edited one, and the log of all that they did and were refused."""

from django.db import models
from django.db.models import Q

from deadletters.models.letters import DeadLetter, Replay
from deadletters.models.protection import never_changed_nor_deleted, never_truncated


class LetterJob(models.Model):
    """Something done with many letters, step by step: each step is one message to the operators' worker.

    Its letters are those that match `filter`, are in the state that `kind` needs, and were collected before it was
    requested. They are taken in the order of their ids, so that `after` is all that has to be remembered.
    """

    class Kind(models.TextChoices):
        REPLAY = "replay", "replay"
        DISCARD = "discard", "discard"
        RESTORE = "restore", "restore"

    class State(models.TextChoices):
        RUNNING = "running", "running"
        PAUSED = "paused", "paused: by a person"
        STOPPED = "stopped", "stopped: by itself, because letters came back"
        CANCELLED = "cancelled", "cancelled: by a person, for good"
        FINISHED = "finished", "finished"

    id = models.UUIDField(primary_key=True)
    kind = models.TextField(choices=Kind)
    state = models.TextField(choices=State, db_default=State.RUNNING)
    filter = models.JSONField(help_text="A `LetterFilter`.")
    description = models.TextField(help_text="The filter in words.")
    requested_by = models.TextField()
    requested_at = models.DateTimeField()
    collected_until = models.DateTimeField(
        help_text="Its letters were collected by then: when it was requested, or resumed after it had stopped."
    )
    reason = models.TextField(blank=True)
    begins_at = models.DateTimeField(help_text="It does nothing before.")
    ramp = models.JSONField(
        help_text="How many letters are sent before the outcome of all is waited for, stage by stage."
    )
    rate = models.FloatField(help_text="Letters a second, at most.")

    total = models.PositiveBigIntegerField(null=True, help_text="Letters that matched when it began.")
    stage = models.PositiveIntegerField(
        db_default=0, help_text="Index in `ramp`; beyond it all the others go."
    )
    stage_done = models.PositiveIntegerField(db_default=0, help_text="Letters of this stage that were sent.")
    done = models.PositiveBigIntegerField(
        db_default=0, help_text="Letters that were sent, discarded or restored."
    )
    refused = models.PositiveBigIntegerField(db_default=0, help_text="Letters that could not be, and stay.")
    after = models.UUIDField(null=True, help_text="The last letter that was taken.")
    is_exhausted = models.BooleanField(db_default=False, help_text="No letter is left to be taken.")
    stopped_because = models.TextField(blank=True, db_default="")
    resumed_at = models.DateTimeField(null=True, help_text="What came back before is forgiven.")
    advanced_at = models.DateTimeField(null=True)
    paced_until = models.DateTimeField(
        null=True, help_text="No further letter is sent before: this keeps the rate."
    )
    finished_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "bulk job"
        default_permissions = ("view",)
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=["replay", "discard", "restore"]), name="letter_job_kind_is_known"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["running", "paused", "stopped"], finished_at__isnull=True)
                | Q(state__in=["cancelled", "finished"], finished_at__isnull=False),
                name="finished_jobs_have_a_time",
            ),
            models.CheckConstraint(
                condition=Q(state="stopped") & ~Q(stopped_because="") | ~Q(state="stopped"),
                name="stopped_jobs_say_why",
            ),
            models.CheckConstraint(
                condition=~Q(kind="discard") | ~Q(reason=""), name="discard_jobs_have_a_reason"
            ),
            models.CheckConstraint(condition=Q(rate__gt=0), name="job_rate_is_positive"),
        ]
        indexes = [
            # The list, newest first: ORDER BY requested_at DESC
            models.Index(fields=["-requested_at"], name="job_newest_first"),
            # Jobs that may have been forgotten: WHERE state = 'running' AND advanced_at < ...
            models.Index(fields=["advanced_at"], condition=Q(state="running"), name="job_running"),
            # Pruning: WHERE finished_at < ...
            models.Index(
                fields=["finished_at"], condition=Q(finished_at__isnull=False), name="job_finished_first"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.description}"


class LetterEdit(models.Model):
    """A letter's message as somebody wants it instead. The letter keeps what came."""

    class State(models.TextChoices):
        PROPOSED = "proposed", "proposed: waits for a second person"
        SENT = "sent", "sent"
        DECLINED = "declined", "declined"

    id = models.UUIDField(primary_key=True)
    letter = models.ForeignKey(DeadLetter, on_delete=models.CASCADE, related_name="edits")
    state = models.TextField(choices=State)
    before = models.JSONField()
    after = models.JSONField()
    message_id = models.UUIDField(help_text="The edited message's own id.")
    proposed_by = models.TextField()
    proposed_at = models.DateTimeField()
    reason = models.TextField()
    decided_by = models.TextField(blank=True, db_default="")
    decided_at = models.DateTimeField(null=True)
    replay = models.OneToOneField(Replay, null=True, on_delete=models.SET_NULL, related_name="edit")

    class Meta:
        verbose_name = "edit of a dead letter"
        verbose_name_plural = "edits of dead letters"
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["letter"], condition=Q(state="proposed"), name="one_proposed_edit_per_letter"
            ),
            models.CheckConstraint(
                condition=Q(state="proposed", decided_at__isnull=True)
                | Q(state__in=["sent", "declined"], decided_at__isnull=False),
                name="decided_edits_have_a_time",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="editing_has_a_reason"),
        ]
        indexes = [
            # What waits for a second person: WHERE state = 'proposed' ORDER BY proposed_at
            models.Index(fields=["proposed_at"], condition=Q(state="proposed"), name="edit_proposed_first"),
        ]

    def __str__(self) -> str:
        return f"edit of {self.letter_id} by {self.proposed_by}"


class DeskEntry(models.Model):
    """One thing that a person did at the desk, or was refused: who, when, what, why. Rows are only added."""

    class Outcome(models.TextChoices):
        DONE = "done", "done"
        REFUSED = "refused", "refused"

    at = models.DateTimeField()
    by = models.TextField()
    action = models.TextField(help_text="Such as replay, discard, edit, pause.")
    outcome = models.TextField(choices=Outcome)
    subject = models.TextField(help_text="What it was done to, in words.")
    letter_id = models.UUIDField(null=True, help_text="Where it was one letter.")
    job_id = models.UUIDField(null=True, help_text="Where it was, or made, a bulk job.")
    saga_id = models.UUIDField(null=True, help_text="Where it was a saga.")
    letters = models.PositiveBigIntegerField(null=True, help_text="How many letters were moved.")
    refused = models.PositiveBigIntegerField(null=True, help_text="How many stayed as they were.")
    reason = models.TextField(blank=True, help_text="In the words of who did it.")
    detail = models.TextField(blank=True, help_text="What came of it, or why it was refused.")

    class Meta:
        verbose_name = "entry in the operators' log"
        verbose_name_plural = "operators' log"
        default_permissions = ("view",)
        constraints = [
            models.CheckConstraint(
                condition=~Q(outcome="refused") | ~Q(detail=""), name="refused_entries_say_why"
            ),
            models.CheckConstraint(condition=~Q(by=""), name="entries_name_somebody"),
        ]
        indexes = [
            # The log, newest first: ORDER BY at DESC, id DESC
            models.Index(fields=["-at", "-id"], name="entry_newest_first"),
            # A letter's, and a job's: WHERE letter_id = ..., WHERE job_id = ...
            models.Index(fields=["letter_id"], condition=Q(letter_id__isnull=False), name="entry_by_letter"),
            models.Index(fields=["job_id"], condition=Q(job_id__isnull=False), name="entry_by_job"),
            # A saga's: WHERE saga_id = ...
            models.Index(fields=["saga_id"], condition=Q(saga_id__isnull=False), name="entry_by_saga"),
        ]
        triggers = [never_changed_nor_deleted(), never_truncated("deadletters_deskentry")]

    def __str__(self) -> str:
        return f"{self.action} by {self.by}: {self.outcome}"
