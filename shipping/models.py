"""Tables of the shipping service."""

from django.db import models
from django.db.models import Q


class Shipment(models.Model):
    """One order's parcel at the carrier."""

    class State(models.TextChoices):
        BOOKED = "booked", "booked"
        REFUSED = "refused", "refused"
        CANCELLED = "cancelled", "cancelled"
        RECALLED = "recalled", "recalled"
        LEFT = "left", "left"

    order_id = models.UUIDField(primary_key=True)
    version = models.PositiveIntegerField(help_text="The version of its stream that the row shows.")
    state = models.CharField(max_length=10, choices=State)
    tracking = models.CharField(max_length=60, blank=True)
    detail = models.CharField(max_length=200, blank=True)
    changed_at = models.DateTimeField()

    class Meta:
        indexes = [
            # The admin's newest first: ORDER BY changed_at DESC
            models.Index(fields=["-changed_at"], name="shipment_newest_first"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=~Q(state="booked") | ~Q(tracking=""), name="booked_shipments_are_tracked"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.order_id} {self.state}"
