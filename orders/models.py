"""Tables of the orders service. `Order` and `OrderLine` are projections of the order's events."""

import uuid

from django.db import models
from django.db.models import Q

from contracts import reasons


class Product(models.Model):
    """An article in the catalogue. Whether it is in stock is the inventory's business, not known here."""

    sku = models.SlugField(primary_key=True, max_length=64)
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    price_amount = models.PositiveIntegerField(help_text="In minor units: cents.")
    currency = models.CharField(max_length=3, default="EUR")
    image = models.CharField(max_length=200, blank=True, help_text="Path below static/.")
    position = models.PositiveIntegerField(default=0)
    is_listed = models.BooleanField(default=True)

    class Meta:
        ordering = ["position", "sku"]

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """An order as its events say it is."""

    class Status(models.TextChoices):
        PENDING = "pending", "pending"
        CONFIRMED = "confirmed", "confirmed"
        CANCELLED = "cancelled", "cancelled"
        CANCELLING = "cancelling", "being cancelled"
        REFUNDED = "refunded", "refunded"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    version = models.PositiveIntegerField(help_text="The version of its stream that the row shows.")
    status = models.CharField(max_length=10, choices=Status)
    reason = models.CharField(max_length=40, blank=True)
    total_amount = models.PositiveBigIntegerField()
    currency = models.CharField(max_length=3)
    customer_name = models.CharField(max_length=200)
    email = models.EmailField()
    line1 = models.CharField(max_length=200)
    city = models.CharField(max_length=100)
    postcode = models.CharField(max_length=20)
    country = models.CharField(max_length=2)
    placed_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(status="pending", finished_at__isnull=True)
                | (
                    Q(finished_at__isnull=False)
                    & Q(status__in=["confirmed", "cancelled", "cancelling", "refunded"])
                ),
                name="finished_orders_have_a_time",
            ),
            models.CheckConstraint(
                condition=~Q(status="cancelled") | ~Q(reason=""),
                name="cancelled_orders_have_a_reason",
            ),
            models.CheckConstraint(
                # A confirmed order has one where its cancellation was refused.
                condition=Q(status__in=["cancelled", "confirmed"]) | Q(reason=""),
                name="orders_under_way_have_no_reason",
            ),
        ]
        indexes = [
            # The admin's list: ORDER BY placed_at DESC
            models.Index(fields=["-placed_at"], name="order_newest_first"),
            # Unfinished orders, for audit and desk: WHERE status = 'pending'
            models.Index(fields=["placed_at"], condition=Q(status="pending"), name="order_unfinished"),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def can_be_cancelled(self) -> bool:
        """Whether its customer may ask for it: once the parcel has left, asking again would change nothing."""
        return self.status == self.Status.CONFIRMED and self.reason != reasons.SHIPMENT_LEFT


class OrderLine(models.Model):
    """What was ordered, at the price of that moment."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    sku = models.CharField(max_length=64)
    name = models.CharField(max_length=200)
    quantity = models.PositiveIntegerField()
    unit_amount = models.PositiveIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["order", "sku"], name="one_line_per_article")]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.name}"

    @property
    def amount(self) -> int:
        return self.quantity * self.unit_amount


class OrderStep(models.Model):
    """How far the order has come, told by the events of the other services."""

    class Name(models.TextChoices):
        RESERVE = "reserve", "Goods reserved"
        AUTHORIZE = "authorize", "Payment authorized"
        SHIP = "ship", "Parcel booked"
        CAPTURE = "capture", "Payment taken"
        RECALL = "recall", "Parcel stopped"
        REFUND = "refund", "Money given back"
        RESTOCK = "restock", "Goods back on the shelf"

    class State(models.TextChoices):
        DONE = "done", "done"
        REFUSED = "refused", "refused"
        UNDONE = "undone", "undone"

    order_id = models.UUIDField()
    name = models.CharField(max_length=10, choices=Name)
    state = models.CharField(max_length=10, choices=State)
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["order_id", "name"], name="one_row_per_order_and_step")
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.state}"


class Checkout(models.Model):
    """A checkout form that was submitted: its hidden key makes one order, however often it comes until it is pruned."""

    key = models.CharField(max_length=100, primary_key=True)
    contents = models.JSONField(help_text="What was ordered, to tell a repetition from another order.")
    order_id = models.UUIDField(unique=True)
    created_at = models.DateTimeField()

    class Meta:
        indexes = [
            # Pruning: WHERE created_at < ... ORDER BY created_at LIMIT ...
            models.Index(fields=["created_at"], name="checkout_oldest_first"),
        ]

    def __str__(self) -> str:
        return self.key


class ApiRequest(models.Model):
    """A request with an Idempotency-Key: in flight while its lease runs, then answered until it is pruned."""

    client = models.CharField(max_length=64, help_text="Hash of who asks.")
    key = models.CharField(max_length=200)
    contents = models.JSONField()
    lease_until = models.DateTimeField()
    status = models.PositiveSmallIntegerField(null=True)
    response = models.JSONField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["client", "key"], name="one_request_per_client_and_key")
        ]
        indexes = [
            # Pruning: WHERE created_at < ... ORDER BY created_at LIMIT ...
            models.Index(fields=["created_at"], name="api_request_oldest_first"),
        ]

    def __str__(self) -> str:
        return self.key
