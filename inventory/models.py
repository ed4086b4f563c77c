"""Tables of the inventory service: projections of the stock's and the reservations' events."""

from django.db import models
from django.db.models import F, Q


class StockItem(models.Model):
    """One article's pieces: what came in is on hand, reserved or sold; none of them is ever negative."""

    sku = models.CharField(max_length=64, primary_key=True)
    version = models.PositiveIntegerField(help_text="The version of its stream that the row shows.")
    received = models.PositiveIntegerField()
    on_hand = models.IntegerField(help_text="Free to be reserved.")
    reserved = models.IntegerField()
    sold = models.IntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(on_hand__gte=0, reserved__gte=0, sold__gte=0), name="stock_never_negative"
            ),
            models.CheckConstraint(
                condition=Q(received=F("on_hand") + F("reserved") + F("sold")),
                name="no_piece_lost_or_invented",
            ),
        ]

    def __str__(self) -> str:
        return self.sku


class Reservation(models.Model):
    """What one order holds, or held. `lines` are [{"sku", "quantity"}]."""

    class State(models.TextChoices):
        REFUSED = "refused", "refused"
        HELD = "held", "held"
        RELEASED = "released", "released"
        SOLD = "sold", "sold"
        RETURNED = "returned", "returned"

    order_id = models.UUIDField(primary_key=True)
    version = models.PositiveIntegerField(help_text="The version of its stream that the row shows.")
    state = models.CharField(max_length=10, choices=State)
    lines = models.JSONField()
    changed_at = models.DateTimeField()

    class Meta:
        indexes = [
            # Goods held, for audit and desk: WHERE state = 'held'
            models.Index(fields=["changed_at"], condition=Q(state="held"), name="reservation_held"),
        ]

    def __str__(self) -> str:
        return f"{self.order_id} {self.state}"
