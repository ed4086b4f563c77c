"""Tables of the billing service. `Payment` is a projection of the payment's events."""

from django.db import models
from django.db.models import Q


class Payment(models.Model):
    """One order's money at the gateway."""

    class State(models.TextChoices):
        AUTHORIZED = "authorized", "authorized"
        DECLINED = "declined", "declined"
        VOIDED = "voided", "voided"
        CAPTURED = "captured", "captured"
        CAPTURE_REFUSED = "capture_refused", "capture refused"
        REFUNDED = "refunded", "refunded"

    order_id = models.UUIDField(primary_key=True)
    version = models.PositiveIntegerField(help_text="The version of its stream that the row shows.")
    state = models.CharField(max_length=20, choices=State)
    amount = models.PositiveBigIntegerField(default=0, help_text="In minor units: cents.")
    currency = models.CharField(max_length=3, blank=True)
    authorization = models.CharField(max_length=200, blank=True, help_text="The gateway's own reference.")
    detail = models.CharField(max_length=200, blank=True)
    changed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~Q(state__in=["authorized", "captured", "capture_refused", "refunded"])
                | ~Q(authorization=""),
                name="held_money_has_a_reference",
            )
        ]
        indexes = [
            # The admin's newest first: ORDER BY changed_at DESC
            models.Index(fields=["-changed_at"], name="payment_newest_first"),
        ]

    def __str__(self) -> str:
        return f"{self.order_id} {self.state}"
