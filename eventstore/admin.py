"""Events, as they were appended."""

from django.contrib import admin

from eventstore.admin_by_service import ByServiceAdmin, ServiceChooser
from eventstore.admin_columns import json_column, page_of, time_column
from eventstore.models import StoredEvent


@admin.register(StoredEvent)
class StoredEventAdmin(ByServiceAdmin):
    service_lookup = "type__startswith"
    private_fields = ("data",)
    empty_sentence = "This service has not recorded such an event yet."

    list_display = ("position", "type", "stream_link", "version", time_column("occurred_at", is_precise=True))
    list_filter = (ServiceChooser, "occurred_at")
    search_fields = ("stream", "type")
    search_help_text = "Part of a stream (order-…, payment-…, stock_item-mug) or of a type"
    ordering = ("-position",)
    fields = (
        "position",
        "type",
        "stream_link",
        "version",
        time_column("occurred_at", is_precise=True),
        json_column("data"),
        json_column("metadata"),
    )

    def service_value(self, service: str) -> str:
        return f"{service}."  # a type begins with its owner

    @admin.display(description="stream", ordering="stream")
    def stream_link(self, event: StoredEvent) -> str:
        return page_of(
            "eventstore_storedevent", event.stream, service=event.type.split(".", 1)[0], stream=event.stream
        )
