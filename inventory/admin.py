"""Stock and reservations, as their events say. Pieces are received by command, never typed in here."""

from typing import Any

from django.contrib import admin
from django.utils.html import format_html_join

from eventstore.admin_columns import Tone, badge, page_of, state_column, time_column
from eventstore.admin_history import HistoryAdmin
from inventory.models import Reservation, StockItem

TONES = {
    Reservation.State.REFUSED: Tone.BAD,
    Reservation.State.HELD: Tone.WAITING,
    Reservation.State.RELEASED: Tone.UNDONE,
    Reservation.State.SOLD: Tone.GOOD,
    Reservation.State.RETURNED: Tone.UNDONE,
}


class _Availability(admin.SimpleListFilter):
    title = "availability"
    parameter_name = "availability"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [("on_hand", "on hand"), ("sold_out", "sold out")]

    def queryset(self, request: Any, queryset: Any) -> Any:
        match self.value():
            case "on_hand":
                return queryset.filter(on_hand__gt=0)
            case "sold_out":
                return queryset.filter(on_hand=0)
        return queryset


@admin.register(StockItem)
class StockItemAdmin(HistoryAdmin):
    identifiers = ("sku",)
    empty_sentence = "No article has been received into stock yet."

    list_display = ("sku", "availability", "on_hand", "reserved", "sold", "received")
    list_filter = (_Availability,)
    search_fields = ("sku",)
    search_help_text = "Part of an article's SKU"
    ordering = ("sku",)
    fields = ("sku", "availability", "on_hand", "reserved", "sold", "received", "version", "events")

    @admin.display(description="availability", ordering="on_hand")
    def availability(self, item: StockItem) -> str:
        return badge("on hand", Tone.GOOD) if item.on_hand else badge("sold out", Tone.BAD)

    @admin.display(description="events")
    def events(self, item: StockItem) -> str:
        stream = f"stock_item-{item.sku}"
        return page_of("eventstore_storedevent", stream, service="inventory", stream=stream)


@admin.register(Reservation)
class ReservationAdmin(HistoryAdmin):
    identifiers = ("order_id",)
    empty_sentence = "No reservation: inventory has not been asked, or has not answered yet."

    list_display = ("order_id", state_column("state", TONES), "goods", time_column("changed_at"))
    list_filter = ("state", "changed_at")
    search_fields = ("lines",)
    search_help_text = "An order's id, or part of an article's SKU"
    ordering = ("-changed_at",)
    fields = (
        "order_link",
        state_column("state", TONES),
        "stock",
        time_column("changed_at"),
        "version",
        "events",
    )

    @admin.display(description="goods")
    def goods(self, reservation: Reservation) -> str:
        return ", ".join(f"{line['quantity']} × {line['sku']}" for line in reservation.lines)

    @admin.display(description="goods")
    def stock(self, reservation: Reservation) -> str:
        return format_html_join(
            ", ",
            "{} × {}",
            (
                (line["quantity"], page_of("inventory_stockitem", line["sku"], sku=line["sku"]))
                for line in reservation.lines
            ),
        )

    @admin.display(description="order")
    def order_link(self, reservation: Reservation) -> str:
        return page_of("orders_order", str(reservation.order_id), id=reservation.order_id)

    @admin.display(description="events")
    def events(self, reservation: Reservation) -> str:
        stream = f"reservation-{reservation.order_id}"
        return page_of("eventstore_storedevent", stream, service="inventory", stream=stream)
