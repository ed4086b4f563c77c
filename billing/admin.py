"""Payments, as their events say."""

from django.contrib import admin

from billing.models import Payment
from eventstore.admin_columns import Tone, money_column, page_of, state_column, time_column
from eventstore.admin_history import HistoryAdmin

TONES = {
    Payment.State.AUTHORIZED: Tone.WAITING,
    Payment.State.DECLINED: Tone.BAD,
    Payment.State.VOIDED: Tone.UNDONE,
    Payment.State.CAPTURED: Tone.GOOD,
    Payment.State.CAPTURE_REFUSED: Tone.BAD,
    Payment.State.REFUNDED: Tone.UNDONE,
}


@admin.register(Payment)
class PaymentAdmin(HistoryAdmin):
    identifiers = ("order_id",)
    empty_sentence = "No payment: billing has not been asked, or has not answered yet."

    list_display = (
        "order_id",
        state_column("state", TONES),
        money_column("amount", "amount"),
        "detail",
        "authorization",
        time_column("changed_at"),
    )
    list_filter = ("state", "changed_at")
    search_fields = ("authorization", "detail")
    search_help_text = "An order's id, or part of the gateway's reference or answer"
    ordering = ("-changed_at",)
    fields = (
        "order_link",
        state_column("state", TONES),
        money_column("amount", "amount"),
        "authorization",
        "detail",
        time_column("changed_at"),
        "version",
        "events",
    )

    @admin.display(description="order")
    def order_link(self, payment: Payment) -> str:
        return page_of("orders_order", str(payment.order_id), id=payment.order_id)

    @admin.display(description="events")
    def events(self, payment: Payment) -> str:
        stream = f"payment-{payment.order_id}"
        return page_of("eventstore_storedevent", stream, service="billing", stream=stream)
