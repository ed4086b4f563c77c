"""Shipments, as the carrier answered."""

from django.contrib import admin

from eventstore.admin_columns import Tone, page_of, state_column, time_column
from eventstore.admin_history import HistoryAdmin
from shipping.models import Shipment

TONES = {
    Shipment.State.BOOKED: Tone.GOOD,
    Shipment.State.REFUSED: Tone.BAD,
    Shipment.State.CANCELLED: Tone.UNDONE,
    Shipment.State.RECALLED: Tone.UNDONE,
    Shipment.State.LEFT: Tone.GOOD,
}


@admin.register(Shipment)
class ShipmentAdmin(HistoryAdmin):
    identifiers = ("order_id",)
    empty_sentence = "No shipment: shipping has not been asked, or has not answered yet."

    list_display = ("order_id", state_column("state", TONES), "tracking", "detail", time_column("changed_at"))
    list_filter = ("state", "changed_at")
    search_fields = ("tracking", "detail")
    search_help_text = "An order's id, or part of a tracking number or of the carrier's answer"
    ordering = ("-changed_at",)
    fields = (
        "order_link",
        state_column("state", TONES),
        "tracking",
        "detail",
        time_column("changed_at"),
        "version",
        "events",
    )

    @admin.display(description="order")
    def order_link(self, shipment: Shipment) -> str:
        return page_of("orders_order", str(shipment.order_id), id=shipment.order_id)

    @admin.display(description="events")
    def events(self, shipment: Shipment) -> str:
        stream = f"shipment-{shipment.order_id}"
        return page_of("eventstore_storedevent", stream, service="shipping", stream=stream)
