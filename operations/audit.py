"""The invariants of the whole shop, checked from every service's database and from the gateway's own books."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings
from django.db.models import F
from django.utils import timezone
from kombu import Connection

from billing.gateway import BookEntry, books
from billing.models import Payment
from deadletters.tallies import open_by_service
from inventory.models import Reservation, StockItem
from messaging import topology
from orders.models import Order
from sagas.models import SagaRecord, sagas_for_a_person
from shipping.models import Shipment

SALE_PATIENCE = timedelta(minutes=2)
"""The goods of a confirmed order are sold by an event, soon after; later than this it has been lost."""
LIVE_PARCELS = (Shipment.State.BOOKED, Shipment.State.LEFT)
"""In these states a parcel comes to the customer."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`violations` are sentences; `notes` tell what is still under way or waits for a person."""

    violations: list[str]
    notes: list[str]
    orders: int
    checked: dict[str, int]


def audit() -> Report:
    """Check every invariant. Run it on a shop at rest: what is under way is told apart by its running saga."""
    # Read first: a saga that ends meanwhile still excuses its order.
    running = {
        UUID(order)
        for order in SagaRecord.objects.filter(finished_at__isnull=True).values_list(
            "correlation_id", flat=True
        )
    }
    orders = {order.id: order for order in Order.objects.defer("line1", "city", "email").iterator()}
    payments = {payment.order_id: payment for payment in Payment.objects.iterator()}
    entries = _entries_by_order()
    violations = [
        *_orders_are_owned(orders, running),
        *_money_is_right(orders, payments, running),
        *_books_agree(orders, payments, entries, running),
        *_stock_adds_up(),
        *_nothing_is_left_behind(orders, payments, running),
    ]
    return Report(
        violations=violations,
        notes=[*_dead_letters(), *_unfinished_sagas(running)],
        orders=len(orders),
        checked={"payments": len(payments), "gateway entries": sum(map(len, entries.values()))},
    )


def _entries_by_order() -> dict[UUID, list[BookEntry]]:
    found: dict[UUID, list[BookEntry]] = defaultdict(list)
    for entry in books(settings.GATEWAY_URL):
        try:
            found[UUID(entry.reference)].append(entry)
        except ValueError:
            continue  # another merchant's reference: these books are shared
    return found


def _orders_are_owned(orders: dict[UUID, Any], running: set[UUID]) -> Iterator[str]:
    for status, saga in ((Order.Status.PENDING, "checkout"), (Order.Status.CANCELLING, "refund")):
        begun = set(SagaRecord.objects.filter(name=saga).values_list("correlation_id", flat=True))
        waiting = {order_id for order_id, order in orders.items() if order.status == status}
        for order_id in sorted(waiting - running):
            if str(order_id) not in begun:
                yield f"order {order_id} is {status} and no {saga} saga has begun for it"
            else:
                yield f"order {order_id} is {status}, but its {saga} saga has ended"


def _money_is_right(
    orders: dict[UUID, Any], payments: dict[UUID, Payment], running: set[UUID]
) -> Iterator[str]:
    for order_id, order in orders.items():
        payment = payments.get(order_id)
        taken = payment.amount if payment and payment.state == Payment.State.CAPTURED else 0
        if order_id in running:
            continue
        due = order.total_amount if order.status == Order.Status.CONFIRMED else 0
        if taken != due:
            yield f"order {order_id} is {order.status} and must have been charged {due}, but was charged {taken}"
    for order_id in payments.keys() - orders.keys():
        yield f"there is a payment for order {order_id}, which does not exist"


def _books_agree(
    orders: dict[UUID, Any],
    payments: dict[UUID, Payment],
    entries: dict[UUID, list[BookEntry]],
    running: set[UUID],
) -> Iterator[str]:
    for order_id, order in orders.items():
        charged = [entry for entry in entries.get(order_id, []) if entry.captured > entry.refunded]
        held = [entry for entry in entries.get(order_id, []) if entry.status == "authorized"]
        if len(charged) > 1:
            yield f"the gateway's books have charged order {order_id} {len(charged)} times"
        if order_id in running:
            continue
        taken = sum(entry.captured - entry.refunded for entry in charged)
        due = order.total_amount if order.status == Order.Status.CONFIRMED else 0
        if taken != due:
            yield f"the gateway's books have order {order_id} charged {taken}; it is {order.status}: due are {due}"
        if held:
            yield f"the gateway still holds money for order {order_id}, which is {order.status}"
    for payment in payments.values():
        if payment.state == Payment.State.CAPTURED and payment.order_id not in entries:
            yield f"order {payment.order_id} is charged here, and the gateway's books know nothing of it"


def _stock_adds_up() -> Iterator[str]:
    wrong = StockItem.objects.exclude(received=F("on_hand") + F("reserved") + F("sold"))
    for item in wrong:
        yield (
            f"stock of {item.sku}: {item.on_hand} on hand, {item.reserved} reserved, {item.sold} sold, "
            f"but {item.received} received"
        )
    held: dict[str, int] = defaultdict(int)
    sold: dict[str, int] = defaultdict(int)
    for reservation in Reservation.objects.filter(state__in=["held", "sold"]).iterator():
        for line in reservation.lines:
            (held if reservation.state == "held" else sold)[line["sku"]] += line["quantity"]
    for item in StockItem.objects.iterator():
        if (item.reserved, item.sold) != (held[item.sku], sold[item.sku]):
            yield (
                f"stock of {item.sku}: {item.reserved} reserved and {item.sold} sold, but the orders' "
                f"reservations say {held[item.sku]} and {sold[item.sku]}"
            )


def _nothing_is_left_behind(
    orders: dict[UUID, Any], payments: dict[UUID, Payment], running: set[UUID]
) -> Iterator[str]:
    undone = {
        order_id: order.status
        for order_id, order in orders.items()
        if order.status in (Order.Status.CANCELLED, Order.Status.REFUNDED) and order_id not in running
    }
    confirmed = {order_id for order_id, order in orders.items() if order.status == Order.Status.CONFIRMED}
    for order_id in Reservation.objects.filter(state="held").values_list("order_id", flat=True):
        if order_id in undone:
            yield f"order {order_id} is {undone[order_id]} and still holds stock"
    for order_id, state in Shipment.objects.filter(state__in=LIVE_PARCELS).values_list("order_id", "state"):
        if order_id in undone:
            still = "is still booked" if state == Shipment.State.BOOKED else "has left"
            yield f"order {order_id} is {undone[order_id]} and its shipment {still}"
    for order_id, status in undone.items():
        payment = payments.get(order_id)
        if payment and payment.state == Payment.State.AUTHORIZED:
            yield f"order {order_id} is {status} and its payment is still authorized"
    yield from _nothing_without_an_order(orders)
    sold = set(Reservation.objects.filter(state="sold").values_list("order_id", flat=True))
    held = set(Reservation.objects.filter(state="held").values_list("order_id", flat=True))
    for order_id in sold & undone.keys():
        yield f"order {order_id} is {undone[order_id]} and its goods are still sold"
    for order_id in confirmed - sold - held:
        yield f"order {order_id} is confirmed and has no goods"
    long_ago = timezone.now() - SALE_PATIENCE
    for order_id in (confirmed & held) - running:
        if orders[order_id].finished_at < long_ago:
            yield f"order {order_id} is confirmed and its goods are still only reserved, not sold"
    booked = set(Shipment.objects.filter(state__in=LIVE_PARCELS).values_list("order_id", flat=True))
    for order_id in confirmed - booked:
        yield f"order {order_id} is confirmed and has no shipment"


def _nothing_without_an_order(orders: dict[UUID, Any]) -> Iterator[str]:
    for model, held, what in (
        (Reservation, "held", "stock is held"),
        (Shipment, "booked", "a shipment is booked"),
    ):
        for order_id in model.objects.filter(state=held).values_list("order_id", flat=True):
            if order_id not in orders:
                yield f"{what} for order {order_id}, which does not exist"


def _unfinished_sagas(running: set[UUID]) -> Iterator[str]:
    if running:
        yield f"{len(running)} sagas are running"
    if waiting := sagas_for_a_person().count():
        yield f"{waiting} sagas need a person: nothing more is sent for their held or stuck steps"


def _dead_letters() -> Iterator[str]:
    for service, letters in sorted(open_by_service().items()):
        yield f"{letters} dead letters of {service} wait for a person"
    with Connection(settings.BROKER_URL, connect_timeout=5) as connection:
        for name, (messages, _) in topology.depths(connection).items():
            if name.endswith(".dead") and messages:
                yield f"{messages} dead letters of {name.removesuffix('.dead')} are not collected yet"
