"""What the orders service can do. Every change is an event and the row that shows it, in one transaction."""

from typing import Any
from uuid import UUID, uuid4

import msgspec
from django.conf import settings
from django.db import connections
from django.utils import timezone

from contracts.message import Event
from contracts.orders import (
    CancellationRefused,
    CancellationRequested,
    ContactGiven,
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    OrderRefunded,
)
from contracts.values import Address, Contact, Money, PricedLine
from eventstore.store import Statement
from messaging import outbox
from messaging.unit_of_work import current, unit_of_work
from orders.aggregate import stream_of
from orders.errors import (
    CannotBeCancelled,
    CheckoutKeyReused,
    InvalidOrder,
    NotBeingCancelled,
    OrderNotPending,
)
from orders.models import Checkout, Order, OrderLine, OrderStep, Product

SERVICE = "orders"
PROGRESS_CHANNEL = "order_progress"
"""PostgreSQL notification with the order's id, for the live order page."""


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A checkout that has been validated: `lines` are (sku, quantity), each sku once."""

    customer: Contact
    ship_to: Address
    payment_token: str
    lines: tuple[tuple[str, int], ...]


class PlacedOrder(msgspec.Struct, frozen=True):
    """The order that a checkout made, now or when the same checkout came before."""

    order_id: UUID
    is_new: bool


def place_order(request: OrderRequest, *, checkout_key: str) -> PlacedOrder:
    """Place an order, once for each checkout key, however many submit it at the same time.

    One transaction with the orders database alone: neither the broker nor another service is waited for.
    Raises `CheckoutKeyReused` where the key came before with other contents, and `InvalidOrder` naming the field.
    """
    order_id = new_order_id()
    contents = msgspec.to_builtins(request)
    with unit_of_work(SERVICE, correlation_id=str(order_id)) as work:
        if not _claim_checkout(checkout_key, contents, order_id):
            return PlacedOrder(_same_checkout(checkout_key, contents), is_new=False)
        lines = _priced(request.lines)
        currency = lines[0].unit_price.currency
        total = Money(sum(line.quantity * line.unit_price.amount for line in lines), currency)
        placed = OrderPlaced(
            order_id=order_id,
            lines=lines,
            total=total,
            payment_token=request.payment_token,
            ship_to=request.ship_to,
            placed_at=work.now,
        )
        stream = stream_of(order_id)
        outbox.publish(placed, stream=stream, version=1)
        outbox.publish(ContactGiven(order_id=order_id, contact=request.customer), stream=stream, version=2)
        Order.objects.create(
            id=order_id,
            version=2,
            status=Order.Status.PENDING,
            total_amount=total.amount,
            currency=currency,
            customer_name=request.customer.name,
            email=request.customer.email,
            line1=request.ship_to.line1,
            city=request.ship_to.city,
            postcode=request.ship_to.postcode,
            country=request.ship_to.country,
            placed_at=work.now,
        )
        OrderLine.objects.bulk_create(
            OrderLine(
                order_id=order_id,
                sku=line.sku,
                name=line.name,
                quantity=line.quantity,
                unit_amount=line.unit_price.amount,
            )
            for line in lines
        )
    return PlacedOrder(order_id, is_new=True)


def confirm(order_id: UUID) -> Event:
    """The order is carried out. Raises `OrderNotPending` where it is cancelled."""
    order = _locked(order_id)
    if order.status != Order.Status.PENDING:
        raise OrderNotPending(f"Order {order_id} is {order.status} and cannot be confirmed.")
    now = current().now
    event = OrderConfirmed(
        order_id=order_id,
        contact=Contact(name=order.customer_name, email=order.email),
        total=Money(order.total_amount, order.currency),
        confirmed_at=now,
    )
    _finish(order, event, status=Order.Status.CONFIRMED, reason="")
    return event


def cancel(order_id: UUID, *, reason: str) -> Event:
    """The order could not be carried out. Raises `OrderNotPending` where it is confirmed."""
    order = _locked(order_id)
    if order.status != Order.Status.PENDING:
        raise OrderNotPending(f"Order {order_id} is {order.status} and cannot be cancelled.")
    event = OrderCancelled(
        order_id=order_id,
        contact=Contact(name=order.customer_name, email=order.email),
        reason=reason,
        cancelled_at=current().now,
    )
    _finish(order, event, status=Order.Status.CANCELLED, reason=reason)
    return event


def request_cancellation(order_id: UUID) -> bool:
    """The customer wants a confirmed order cancelled; False where it is being cancelled, or is, already.

    However many ask at the same time, one request begins. Raises `CannotBeCancelled`.
    """
    with unit_of_work(SERVICE, correlation_id=str(order_id)) as work:
        order = _locked(order_id)
        if order.status in (Order.Status.CANCELLING, Order.Status.REFUNDED, Order.Status.CANCELLED):
            return False
        if order.status != Order.Status.CONFIRMED:
            raise CannotBeCancelled("We are still working on this order. Wait until it is confirmed.")
        if not order.can_be_cancelled:
            raise CannotBeCancelled("This order cannot be cancelled any more: the parcel has left.")
        requested = CancellationRequested(
            request_id=uuid4(),
            order_id=order_id,
            total=Money(order.total_amount, order.currency),
            requested_at=work.now,
        )
        _change(order, requested, status=Order.Status.CANCELLING, reason="")
    return True


def refuse_cancellation(order_id: UUID, *, reason: str) -> Event:
    """The order stays confirmed; unless its parcel has left, it can be asked for again. Raises `NotBeingCancelled`."""
    order = _being_cancelled(order_id)
    event = CancellationRefused(
        order_id=order_id,
        contact=Contact(name=order.customer_name, email=order.email),
        reason=reason,
        refused_at=current().now,
    )
    _change(order, event, status=Order.Status.CONFIRMED, reason=reason)
    return event


def refund(order_id: UUID) -> Event:
    """The order is undone although it had been confirmed. Raises `NotBeingCancelled`."""
    order = _being_cancelled(order_id)
    event = OrderRefunded(
        order_id=order_id,
        contact=Contact(name=order.customer_name, email=order.email),
        total=Money(order.total_amount, order.currency),
        refunded_at=current().now,
    )
    _finish(order, event, status=Order.Status.REFUNDED, reason="")
    return event


def _being_cancelled(order_id: UUID) -> Order:
    order = _locked(order_id)
    if order.status != Order.Status.CANCELLING:
        raise NotBeingCancelled(f"Order {order_id} is {order.status}, and nobody cancels it.")
    return order


_ADVANCE = """
INSERT INTO orders_orderstep (order_id, name, state, at) VALUES (%s, %s, %s, %s)
ON CONFLICT (order_id, name) DO UPDATE SET state = excluded.state, at = excluded.at
WHERE orders_orderstep.state <> 'undone' AND excluded.state = 'undone'"""


def record_progress(order_id: UUID, *, step: OrderStep.Name, state: OrderStep.State) -> None:
    """Note what another service did for the order. What is undone stays so, in whatever order the news comes."""
    work = current()
    work.add_statement((_ADVANCE, [order_id, step.value, state.value, work.now]))
    work.add_statement(_tell_page(order_id))


def new_order_id() -> UUID:
    """An order's id is its page's address, so it must not be guessable: 122 random bits, no time in it."""
    return uuid4()


def _claim_checkout(key: str, contents: dict[str, Any], order_id: UUID) -> bool:
    with connections[settings.SERVICES[SERVICE]].cursor() as cursor:
        cursor.execute(
            "INSERT INTO orders_checkout (key, contents, order_id, created_at) VALUES (%s, %s::jsonb, %s, %s) "
            "ON CONFLICT (key) DO NOTHING RETURNING key",
            [key, msgspec.json.encode(contents).decode(), order_id, timezone.now()],
        )
        return cursor.fetchone() is not None


def _same_checkout(key: str, contents: dict[str, Any]) -> UUID:
    known = Checkout.objects.get(key=key)
    given = msgspec.json.decode(msgspec.json.encode(contents))
    differing = differing_fields(known.contents, given)
    if differing:
        raise CheckoutKeyReused(differing)
    return known.order_id


def differing_fields(first: dict[str, Any], second: dict[str, Any], prefix: str = "") -> list[str]:
    """The dotted names of the fields in which two JSON objects differ."""
    found: list[str] = []
    for name in sorted(first.keys() | second.keys()):
        one, other = first.get(name), second.get(name)
        if one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            found += differing_fields(one, other, f"{prefix}{name}.")
        else:
            found.append(f"{prefix}{name}")
    return found


def _priced(lines: tuple[tuple[str, int], ...]) -> tuple[PricedLine, ...]:
    if not lines:
        raise InvalidOrder("lines", "The order is empty. Put something into the cart first.")
    products = Product.objects.filter(sku__in=[sku for sku, _ in lines], is_listed=True).in_bulk()
    priced = []
    for sku, quantity in lines:
        product = products.get(sku)
        if product is None:
            raise InvalidOrder("lines", f"There is no article {sku!r} in the catalogue.")
        price = Money(product.price_amount, product.currency)
        priced.append(PricedLine(sku=sku, name=product.name, quantity=quantity, unit_price=price))
    if len({line.unit_price.currency for line in priced}) > 1:
        raise InvalidOrder(
            "lines", "The articles have prices in different currencies; order them separately."
        )
    return tuple(priced)


def _locked(order_id: UUID) -> Order:
    return Order.objects.select_for_update().get(id=order_id)


def _finish(order: Order, event: Event, *, status: str, reason: str) -> None:
    _change(order, event, status=status, reason=reason, finished_at=current().now)


def _change(order: Order, event: Event, **columns: Any) -> None:
    outbox.publish(event, stream=stream_of(order.id), version=order.version + 1)
    Order.objects.filter(id=order.id).update(version=order.version + 1, **columns)
    current().add_statement(_tell_page(order.id))


def _tell_page(order_id: UUID) -> Statement:
    return "SELECT pg_notify(%s, %s)", [PROGRESS_CHANNEL, str(order_id)]
