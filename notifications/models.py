"""Tables of the notifications service."""

from django.db import models


class Notification(models.Model):
    """An e-mail that a customer was sent about an order. The address itself is not kept."""

    order_id = models.UUIDField()
    kind = models.CharField(max_length=20)
    sent_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["order_id", "kind"], name="one_notification_of_a_kind")
        ]
        indexes = [
            # The admin's newest first: ORDER BY sent_at DESC
            models.Index(fields=["-sent_at"], name="notification_newest_first"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.order_id}"
