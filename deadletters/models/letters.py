"""Dead letters, their groups, how many there are of each, and what was done with one."""

import pgtrigger
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import Q

from deadletters.models.protection import deleted_only_with, never_changed, never_truncated

_TALLY = """
INSERT INTO deadletters_lettertally (fingerprint, service, state, hour, letters)
SELECT group_id, service, state, date_trunc('hour', died_at, 'UTC'), sum(change)
FROM ({changes}) AS changed GROUP BY 1, 2, 3, 4 HAVING sum(change) <> 0;
RETURN NULL;"""
_CAME = "SELECT group_id, service, state, died_at, 1 AS change FROM new_letters"
_WENT = "SELECT group_id, service, state, died_at, -1 AS change FROM old_letters"


def _tallied(name: str, operation: pgtrigger.Operation, changes: str, **seen: str) -> pgtrigger.Trigger:
    return pgtrigger.Trigger(
        name=name,
        level=pgtrigger.Statement,
        when=pgtrigger.After,
        operation=operation,
        referencing=pgtrigger.Referencing(**seen),  # type: ignore[no-untyped-call]
        func=_TALLY.format(changes=changes),
    )


class LetterGroup(models.Model):
    """What letters have in common: the type, the exception's class, and the top frame of our own code."""

    fingerprint = models.TextField(primary_key=True)
    type = models.TextField(blank=True)
    exception_class = models.TextField(help_text="Where no failure was recorded, the broker's reason.")
    frame = models.TextField(help_text="Where no failure was recorded, the queue.")
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()

    class Meta:
        verbose_name = "dead letter group"
        indexes = [
            # The groups, newest first: ORDER BY last_seen_at DESC
            models.Index(fields=["-last_seen_at"], name="letter_group_newest_first"),
        ]

    def __str__(self) -> str:
        return f"{self.type or 'no type'}: {self.exception_class} in {self.frame}"


class DeadLetter(models.Model):
    """A message that could not be handled, exactly as it came, and why."""

    class State(models.TextChoices):
        OPEN = "open", "open: waits for a person"
        REPLAYING = "replaying", "replaying: sent again, not answered yet"
        RESOLVED = "resolved", "resolved: handled after all"
        DISCARDED = "discarded", "discarded: never to be handled"
        SUPERSEDED = "superseded", "superseded: the replay failed, another letter goes on"

    id = models.UUIDField(primary_key=True)
    death = models.TextField(help_text="Names this death: a letter that is collected twice is stored once.")
    service = models.TextField(help_text="The queue where it died.")
    state = models.TextField(choices=State, db_default=State.OPEN)

    body = models.BinaryField(help_text="The bytes as they came.")
    headers = models.JSONField(help_text="What JSON lacks is written as {'$bytes': …} and so on.")
    properties = models.JSONField()
    reason = models.TextField(blank=True, help_text="The broker's word for why it died.")
    deaths = models.JSONField(help_text="The broker's x-death, newest first.")

    message_id = models.UUIDField(null=True)
    type = models.TextField(blank=True)
    correlation_id = models.TextField(blank=True)
    idempotency_key = models.TextField(blank=True)
    saga_id = models.UUIDField(null=True)
    step = models.TextField(blank=True)
    attempt = models.PositiveIntegerField(null=True)
    replay_id = models.UUIDField(null=True, help_text="The replay that it came back from.")
    words = SearchVectorField(
        null=True,
        help_text="What a search finds: service, type, exception and body, without what is said of customers.",
    )
    follows = models.ForeignKey(
        "self",
        null=True,
        on_delete=models.SET_NULL,
        related_name="followers",
        help_text="The first letter of this message, where a replay of it has failed.",
    )

    exception = models.TextField(blank=True)
    traceback = models.TextField(blank=True)
    is_failure_known = models.BooleanField(
        db_default=True, help_text="False as long as the service's database could not be asked."
    )
    group = models.ForeignKey(LetterGroup, on_delete=models.PROTECT, related_name="letters", db_index=False)

    died_at = models.DateTimeField()
    collected_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "dead letter"
        default_permissions = ("view",)
        permissions = [
            ("replay_deadletter", "Can replay dead letters"),
            ("discard_deadletter", "Can discard and restore dead letters"),
            ("edit_deadletter", "Can edit and replay dead letters of the types that are permitted too"),
            ("approve_deadletter", "Can approve what somebody else has edited"),
        ]
        triggers = [
            _tallied("tallied_when_added", pgtrigger.Insert, _CAME, new="new_letters"),
            _tallied(
                "tallied_when_changed",
                pgtrigger.Update,
                f"{_CAME} UNION ALL {_WENT}",
                old="old_letters",
                new="new_letters",
            ),
            _tallied("tallied_when_deleted", pgtrigger.Delete, _WENT, old="old_letters"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["death"], name="one_letter_per_death"),
            models.CheckConstraint(
                condition=Q(state__in=["open", "replaying", "resolved", "discarded", "superseded"]),
                name="letter_state_is_known",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["open", "replaying"], closed_at__isnull=True)
                | Q(state__in=["resolved", "discarded", "superseded"], closed_at__isnull=False),
                name="closed_letters_have_a_time",
            ),
        ]
        indexes = [
            # The list, newest first: ORDER BY died_at DESC, id DESC
            models.Index(fields=["-died_at", "-id"], name="letter_newest_first"),
            # A service's letters in hand: WHERE service = ... AND state = 'open' ORDER BY died_at DESC
            models.Index(
                fields=["service", "state", "-died_at"],
                condition=Q(state__in=["open", "replaying"]),
                name="letter_in_hand_by_service",
            ),
            # A job's next letters of one group: WHERE group_id = ... AND state = 'open' AND id > ... ORDER BY id
            models.Index(
                fields=["group", "id"], condition=Q(state="open"), name="letter_open_by_group_and_id"
            ),
            # The orders behind a group: SELECT DISTINCT correlation_id WHERE group_id = ... AND state = 'open'
            models.Index(
                fields=["group", "correlation_id"],
                condition=Q(state="open") & ~Q(correlation_id=""),
                name="letter_orders_by_group",
            ),
            # A service's letters: WHERE service = ... ORDER BY died_at DESC
            models.Index(fields=["service", "-died_at"], name="letter_by_service"),
            # Letters in one state: WHERE state = ... ORDER BY died_at DESC
            models.Index(fields=["state", "-died_at"], name="letter_by_state"),
            # Words that are not common among the newest letters (searching.py): WHERE words @@ ...::tsquery
            GinIndex(fields=["words"], name="letter_by_word"),
            # A group's letters: WHERE group_id = ... ORDER BY died_at DESC
            models.Index(fields=["group", "-died_at"], name="letter_by_group"),
            # A type's letters: WHERE type = ... ORDER BY died_at DESC
            models.Index(fields=["type", "-died_at"], name="letter_by_type"),
            # A message's letters: WHERE message_id = ...
            models.Index(fields=["message_id"], name="letter_by_message"),
            # An order's letters: WHERE correlation_id = ...
            models.Index(fields=["correlation_id"], name="letter_by_correlation"),
            # Keys that must be kept: WHERE idempotency_key = ANY(...) AND state IN ('open', 'replaying', 'discarded')
            models.Index(
                fields=["idempotency_key"],
                condition=Q(state__in=["open", "replaying", "discarded"]),
                name="letter_by_key_if_restorable",
            ),
            # A saga's letters: WHERE saga_id = ...
            models.Index(fields=["saga_id"], condition=Q(saga_id__isnull=False), name="letter_by_saga"),
            # What came back from a replay: WHERE replay_id = ...
            models.Index(fields=["replay_id"], condition=Q(replay_id__isnull=False), name="letter_by_replay"),
            # Failures to be filled in: WHERE NOT is_failure_known AND service = ANY(...) ORDER BY id
            models.Index(
                fields=["service", "id"], condition=Q(is_failure_known=False), name="letter_failure_unknown"
            ),
            # Pruning: WHERE closed_at < ... ORDER BY closed_at
            models.Index(
                fields=["closed_at"], condition=Q(closed_at__isnull=False), name="letter_closed_first"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type or 'message'} {self.message_id or self.id}"


class Replay(models.Model):
    """One time that a letter was sent again. While it is open, there is no second one."""

    class Outcome(models.TextChoices):
        OPEN = "open", "open"
        SUCCEEDED = "succeeded", "succeeded"
        FAILED = "failed", "failed"

    id = models.UUIDField(primary_key=True)
    letter = models.ForeignKey(DeadLetter, on_delete=models.CASCADE, related_name="replays")
    outcome = models.TextField(choices=Outcome, db_default=Outcome.OPEN)
    requested_by = models.TextField()
    requested_at = models.DateTimeField()
    reason = models.TextField(blank=True)
    is_automatic = models.BooleanField(db_default=False)
    available_at = models.DateTimeField(help_text="It is sent from then on.")
    finished_at = models.DateTimeField(null=True)
    job = models.ForeignKey(
        "LetterJob",
        null=True,
        on_delete=models.SET_NULL,
        related_name="replays",
        db_index=False,
        help_text="The job that has sent it.",
    )

    class Meta:
        verbose_name = "replay"
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["letter"], condition=Q(outcome="open"), name="one_open_replay_per_letter"
            ),
            models.CheckConstraint(
                condition=Q(outcome="open", finished_at__isnull=True)
                | Q(outcome__in=["succeeded", "failed"], finished_at__isnull=False),
                name="finished_replays_have_a_time",
            ),
        ]
        indexes = [
            # What is under way, oldest first: WHERE outcome = 'open' ORDER BY requested_at
            models.Index(fields=["requested_at"], condition=Q(outcome="open"), name="replay_open_first"),
            # What of a job is under way: WHERE job_id = ... AND outcome = 'open'
            models.Index(
                fields=["job"], condition=Q(job__isnull=False, outcome="open"), name="replay_open_by_job"
            ),
            # What of a job came back: WHERE job_id = ... AND outcome = 'failed' AND finished_at > ...
            models.Index(
                fields=["job", "finished_at"],
                condition=Q(job__isnull=False, outcome="failed"),
                name="replay_failed_by_job",
            ),
            # Pruning's foreign key, and a job's replays: WHERE job_id = ...
            models.Index(fields=["job"], condition=Q(job__isnull=False), name="replay_by_job"),
        ]

    def __str__(self) -> str:
        return f"replay {self.id}: {self.outcome}"


class LetterAction(models.Model):
    """Who did what with a letter, and why. Rows are only added; they go with their letter."""

    class Kind(models.TextChoices):
        REPLAYED = "replayed", "replayed"
        DISCARDED = "discarded", "discarded"
        RESTORED = "restored", "restored"
        EDITED = "edited", "edited and replayed"
        PROPOSED = "proposed", "edit proposed"
        DECLINED = "declined", "edit declined"
        REFUSED = "refused", "refused"

    letter = models.ForeignKey(DeadLetter, on_delete=models.CASCADE, related_name="actions")
    kind = models.TextField(choices=Kind)
    by = models.TextField()
    at = models.DateTimeField()
    reason = models.TextField(blank=True, help_text="In the words of who did it.")
    refusal = models.TextField(
        blank=True,
        db_default="",
        help_text="Where nothing was done: what was wanted, and why it was refused.",
    )

    class Meta:
        verbose_name = "action on a dead letter"
        default_permissions = ("view",)
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    kind__in=[
                        "replayed",
                        "discarded",
                        "restored",
                        "edited",
                        "proposed",
                        "declined",
                        "refused",
                    ]
                ),
                name="letter_action_is_known",
            ),
            models.CheckConstraint(
                condition=~Q(kind="discarded") | ~Q(reason=""), name="discarding_has_a_reason"
            ),
            models.CheckConstraint(
                condition=Q(kind="refused") & ~Q(refusal="") | ~Q(kind="refused") & Q(refusal=""),
                name="refusals_say_why",
            ),
        ]
        triggers = [
            never_changed(),
            deleted_only_with("deadletters_deadletter", key="letter_id"),
            never_truncated("deadletters_letteraction"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} by {self.by}"


class LetterTally(models.Model):
    """How many letters there are, kept by triggers: the sum over the rows of a group, service, state and hour.

    A change adds rows and locks none, so that nobody waits for a counter; folding adds rows up into one.
    """

    fingerprint = models.TextField()
    service = models.TextField()
    state = models.TextField()
    hour = models.DateTimeField(help_text="Of the deaths. Long ago, one time stands for all.")
    letters = models.BigIntegerField(help_text="May be negative: what left this state.")

    class Meta:
        verbose_name = "letter tally"
        default_permissions = ()
        indexes = [
            # A group's figures: WHERE fingerprint = ANY(...)
            models.Index(fields=["fingerprint"], name="tally_by_group"),
            # What waits, by service: WHERE state = ANY(...) GROUP BY service
            models.Index(fields=["state", "service"], name="tally_by_state"),
            # The last day: WHERE hour >= ...
            models.Index(fields=["hour"], name="tally_by_hour"),
        ]

    def __str__(self) -> str:
        return f"{self.letters} {self.state} of {self.service}"
