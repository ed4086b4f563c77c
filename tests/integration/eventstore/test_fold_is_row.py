"""The tables are projections: folding the events gives exactly what the row shows."""

from uuid import UUID, uuid4

import pytest
from django.conf import settings

from billing import aggregate as payments
from billing.models import Payment
from billing.services import _state_of as payment_in_row
from contracts.billing import RefundPayment, VoidPayment
from contracts.inventory import ReleaseStock, RestockGoods
from contracts.orders import CancelOrder, ConfirmOrder, OrderConfirmed, RefundOrder, RefuseCancellation
from eventstore import store
from inventory import aggregate as stock
from inventory.models import StockItem
from inventory.services import receive
from orders import aggregate as orders
from orders.models import Order
from orders.services import place_order, request_cancellation
from tests.builders import (
    ADA,
    EUR_25,
    NOON,
    a_step_key,
    an_order_request,
    authorize_payment,
    capture_payment,
    reserve_stock,
)

pytestmark = pytest.mark.django_db


def folded(service: str, evolve, stream: str):
    recorded = store.read(stream, database=settings.SERVICES[service])
    return store.fold(evolve, [one.event for one in recorded])


def assert_order_is_its_fold(order_id: UUID) -> None:
    row = Order.objects.get(id=order_id)
    state = folded("orders", orders.evolve, orders.stream_of(order_id))
    assert (state.version, state.status, state.reason) == (row.version, row.status, row.reason)
    assert (state.total.amount, state.total.currency) == (row.total_amount, row.currency)
    assert (state.contact.name, state.contact.email) == (row.customer_name, row.email)
    address = state.ship_to
    assert (address.line1, address.city, address.postcode, address.country) == (
        row.line1,
        row.city,
        row.postcode,
        row.country,
    )
    assert [(line.sku, line.name, line.quantity, line.unit_price.amount) for line in state.lines] == list(
        row.lines.values_list("sku", "name", "quantity", "unit_amount")
    )
    assert (state.placed_at, state.finished_at) == (row.placed_at, row.finished_at)


@pytest.mark.parametrize("end", ["pending", "confirmed", "cancelled", "cancelling", "refunded", "refused"])
def test_an_order_is_the_fold_of_its_events(deliver, end):
    order_id = place_order(an_order_request(quantity=2), checkout_key=str(uuid4())).order_id
    if end == "confirmed":
        deliver("orders", ConfirmOrder(order_id=order_id))
    elif end == "cancelled":
        deliver("orders", CancelOrder(order_id=order_id, reason="card_declined"))

    elif end != "pending":
        deliver("orders", ConfirmOrder(order_id=order_id))
        request_cancellation(order_id)
        if end == "refunded":
            deliver("orders", RefundOrder(order_id=order_id))
        elif end == "refused":
            deliver("orders", RefuseCancellation(order_id=order_id, reason="shipment_left"))

    assert Order.objects.get(id=order_id).status == ("confirmed" if end == "refused" else end)
    assert_order_is_its_fold(order_id)


@pytest.mark.parametrize(
    "end", ["authorized", "declined", "captured", "voided", "refunded", "never authorized"]
)
def test_a_payment_is_the_fold_of_its_events(deliver, gateway, end):
    order_id, saga_id = uuid4(), uuid4()
    if end != "never authorized":
        command = authorize_payment(order_id, card="tok_declined" if end == "declined" else "tok_visa")
        deliver("billing", command, key=a_step_key("authorize", saga_id=saga_id))
    if end in ("captured", "refunded"):
        deliver("billing", capture_payment(order_id))
    if end == "refunded":
        deliver("billing", RefundPayment(order_id=order_id))
    if end in ("voided", "never authorized"):
        key = a_step_key("authorize", saga_id=saga_id, is_compensation=True)
        deliver("billing", VoidPayment(order_id=order_id), key=key)

    row = Payment.objects.get(order_id=order_id)
    assert row.state == ("voided" if end == "never authorized" else end)
    assert folded("billing", payments.evolve, payments.stream_of(order_id)) == payment_in_row(row)


def test_an_article_is_the_fold_of_its_events(deliver):
    sku, sold, released, returned = f"article-{uuid4().hex[:8]}", uuid4(), uuid4(), uuid4()
    receive(sku, 10)
    receive(sku, 5)
    for order_id in (sold, released, returned):
        deliver("inventory", reserve_stock(order_id, sku=sku, quantity=2))
    deliver("inventory", ReleaseStock(order_id=released))
    for order_id in (sold, returned):
        deliver("inventory", OrderConfirmed(order_id=order_id, contact=ADA, total=EUR_25, confirmed_at=NOON))
    deliver("inventory", RestockGoods(order_id=returned))

    row = StockItem.objects.get(sku=sku)
    state = folded("inventory", stock.evolve, stock.stream_of(sku))

    assert (row.received, row.on_hand, row.reserved, row.sold) == (15, 13, 0, 2)
    assert state == stock.StockState(
        **{name: getattr(row, name) for name in ("sku", "version", "received", "on_hand", "reserved", "sold")}
    )
    assert state.version == 9
