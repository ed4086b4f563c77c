"""The catalogue, which is edited here, and the orders, which are only shown."""

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from contracts import reasons
from eventstore.admin_columns import (
    Tone,
    badge,
    duration,
    may_open,
    moment,
    money,
    money_column,
    page_for,
    page_of,
    state_column,
    time_column,
)
from eventstore.admin_history import HistoryAdmin, choice_filter
from orders.models import Order, OrderStep, Product

REASONS = (
    reasons.OUT_OF_STOCK,
    reasons.CARD_DECLINED,
    reasons.UNDELIVERABLE,
    reasons.CAPTURE_REFUSED,
    reasons.STEP_OVERDUE,
    reasons.STEP_FAILED,
    reasons.SAGA_OVERDUE,
    reasons.CANCELLED_BY_OPERATOR,
    reasons.SHIPMENT_LEFT,
)
STATUS_TONES = {
    Order.Status.PENDING: Tone.WAITING,
    Order.Status.CONFIRMED: Tone.GOOD,
    Order.Status.CANCELLED: Tone.UNDONE,
    Order.Status.CANCELLING: Tone.WAITING,
    Order.Status.REFUNDED: Tone.UNDONE,
}
STEP_TONES = {
    OrderStep.State.DONE: Tone.GOOD,
    OrderStep.State.REFUSED: Tone.BAD,
    OrderStep.State.UNDONE: Tone.UNDONE,
}


class PriceField(forms.DecimalField):
    """A price typed as 12.50 and kept as 1250 minor units."""

    def prepare_value(self, value: Any) -> Any:
        return Decimal(value).scaleb(-2) if isinstance(value, int) else value

    def clean(self, value: Any) -> int:
        price = super().clean(value)
        if price is None:
            raise ValidationError(self.error_messages["required"])
        return int(price * 100)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


class ProductForm(forms.ModelForm):
    price_amount = PriceField(
        label="Price",
        min_value=Decimal("0.01"),
        max_digits=9,
        decimal_places=2,
        help_text="As 12.50. Orders already placed keep the price of their moment.",
    )


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    """Articles may be described, priced and taken off the list. They come in and go with the stock they have."""

    form = ProductForm
    list_display = ("sku", "name", money_column("price_amount", "price"), "is_listed", "position")
    list_filter = ("is_listed",)
    search_fields = ("sku", "name", "description")
    search_help_text = "Part of an article's SKU, name or description"
    show_full_result_count = False
    fields = (
        "sku",
        "name",
        "description",
        ("price_amount", "currency"),
        "image",
        "position",
        "is_listed",
        "stock",
    )
    readonly_fields = ("sku", "currency", "stock")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # an article without stock could be ordered, and every such order would be cancelled

    def has_delete_permission(self, request: HttpRequest, obj: Product | None = None) -> bool:
        return False  # what is not sold any more is not listed any more

    @admin.display(description="stock")
    def stock(self, product: Product) -> str:
        return page_of("inventory_stockitem", product.sku, sku=product.sku)


@admin.register(Order)
class OrderAdmin(HistoryAdmin):
    identifiers = ("id",)
    empty_sentence = "No order has been placed yet."

    list_display = (
        "id",
        state_column("status", STATUS_TONES),
        "shown_reason",
        money_column("total_amount", "total"),
        "customer_name",
        "delivery",
        time_column("placed_at"),
        "took",
    )
    list_filter = ("status", choice_filter("reason", REASONS), "placed_at")
    search_fields = ("email", "customer_name", "postcode")
    search_help_text = "An order's id, or part of a customer's name, e-mail address or postcode"
    ordering = ("-placed_at",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("id", "version"),
                    (state_column("status", STATUS_TONES), "shown_reason"),
                    money_column("total_amount", "total"),
                    (time_column("placed_at"), time_column("finished_at"), "took"),
                )
            },
        ),
        ("Customer", {"fields": (("customer_name", "email"), "line1", ("postcode", "city", "country"))}),
    )

    @admin.display(description="reason", ordering="reason")
    def shown_reason(self, order: Order) -> str:
        return order.reason.replace("_", " ") or "–"

    @admin.display(description="deliver to", ordering="postcode")
    def delivery(self, order: Order) -> str:
        return f"{order.postcode} {order.country}"

    @admin.display(description="took")
    def took(self, order: Order) -> str:
        return duration(order.placed_at, order.finished_at)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        order: Order = kwargs["obj"]
        context.update(
            trail=_trail(order, user=request.user),
            lines=[
                {
                    "name": line.name,
                    "stock": page_for(request.user, "inventory_stockitem", line.sku, sku=line.sku),
                    "quantity": line.quantity,
                    "unit": money(line.unit_amount, order.currency),
                    "amount": money(line.amount, order.currency),
                }
                for line in order.lines.order_by("id")
            ],
            progress=[
                {
                    "name": step.get_name_display(),
                    "state": badge(step.get_state_display(), STEP_TONES[OrderStep.State(step.state)]),
                    "at": moment(step.at, is_precise=True),
                }
                for step in OrderStep.objects.filter(order_id=order.id).order_by("at", "id")
            ],
        )
        return super().render_change_form(request, context, *args, **kwargs)


def _trail(order: Order, *, user: Any) -> list[str]:
    """Where else the order is known, as far as this person may go; other services' pages are reached by address."""
    stream = f"order-{order.id}"
    pages: list[tuple[str, str, dict[str, object]]] = [
        ("sagas_sagarecord", "Saga", {"correlation_id": order.id}),
        ("deadletters_deadletter", "Dead letters", {"order": order.id}),
        ("billing_payment", "Payment", {"order_id": order.id}),
        ("inventory_reservation", "Reservation", {"order_id": order.id}),
        ("shipping_shipment", "Shipment", {"order_id": order.id}),
        ("notifications_notification", "E-mails", {"order_id": order.id}),
        ("eventstore_storedevent", "Events", {"service": "orders", "stream": stream}),
        (
            "messaging_failedattempt",
            "Failed attempts in orders",
            {"service": "orders", "correlation_id": order.id},
        ),
    ]
    return [page_of(model, text, **asked) for model, text, asked in pages if may_open(user, model)]
