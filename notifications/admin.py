"""Which e-mails went out."""

from django.contrib import admin

from eventstore.admin_columns import page_of, time_column
from eventstore.admin_history import HistoryAdmin, choice_filter
from notifications.models import Notification


@admin.register(Notification)
class NotificationAdmin(HistoryAdmin):
    identifiers = ("order_id",)
    empty_sentence = "No e-mail has been sent: an order's customer is told when it is confirmed or cancelled."

    list_display = ("order_id", "kind", time_column("sent_at"))
    list_filter = (choice_filter("kind", ("confirmed", "cancelled", "refunded", "refused")), "sent_at")
    search_fields = ("kind",)
    search_help_text = "An order's id, or the kind of e-mail"
    ordering = ("-sent_at",)
    fields = ("order_link", "kind", time_column("sent_at"))

    @admin.display(description="order")
    def order_link(self, notification: Notification) -> str:
        return page_of("orders_order", str(notification.order_id), id=notification.order_id)
