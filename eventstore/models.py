"""The append-only record of what happened, in every service's database."""

from typing import Any

import pgtrigger
from django.db import models
from django.db.models.expressions import Func


class TransactionIdField(models.Field):  # type: ignore[type-arg]  # not subscriptable at run time
    """PostgreSQL's 64-bit transaction id (`xid8`), set by the database."""

    def db_type(self, connection: Any) -> str:
        return "xid8"


class StoredEvent(models.Model):
    """One event of one stream. Rows are added, never changed and never removed."""

    position = models.BigAutoField(primary_key=True)
    transaction_id = TransactionIdField(
        db_default=Func(function="pg_current_xact_id"),
        editable=False,
        help_text="The writing transaction. Readers follow (transaction id, position), because a position may "
        "be taken early and committed late.",
    )
    stream = models.TextField()
    version = models.PositiveIntegerField()
    type = models.TextField()
    data = models.JSONField()
    metadata = models.JSONField()
    occurred_at = models.DateTimeField()

    class Meta:
        verbose_name = "event"
        permissions = [("see_personal_data", "Can read what messages say about customers")]
        constraints = [
            models.UniqueConstraint(fields=["stream", "version"], name="one_event_per_version"),
            models.CheckConstraint(condition=models.Q(version__gte=1), name="version_from_one"),
        ]
        indexes = [
            # Readers: WHERE (transaction_id, position) > cursor ORDER BY transaction_id, position
            models.Index(fields=["transaction_id", "position"], name="event_reading_order"),
            # The admin's filter by time: ORDER BY occurred_at DESC
            models.Index(fields=["-occurred_at"], name="event_newest_first"),
        ]
        triggers = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete),
            pgtrigger.Trigger(
                name="never_truncated",
                level=pgtrigger.Statement,
                when=pgtrigger.Before,
                operation=pgtrigger.Truncate,
                func="RAISE EXCEPTION 'pgtrigger: Cannot truncate rows from % table', TG_TABLE_NAME;",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.stream} {self.version}: {self.type}"
