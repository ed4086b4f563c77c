"""What each kind of message costs its service's database: statements, round trips, commits. It is kept in check."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connections
from django.test.utils import CaptureQueriesContext

from contracts.billing import CapturePayment, FindAuthorization, RefundPayment, VoidPayment
from contracts.inventory import ReleaseStock, RestockGoods, StockReserved
from contracts.orders import CancelOrder, ConfirmOrder, OrderConfirmed, RefundOrder, RefuseCancellation
from contracts.shipping import BookShipment, CancelShipment, RecallShipment
from messaging import idempotency
from messaging.consumer import consume
from messaging.models import IdempotencyKey
from orders.services import place_order, request_cancellation
from sagas.batch import Incoming, handle_batch
from sagas.checkout import CHECKOUT
from sagas.registry import saga_id_of
from tests.builders import (
    ADA,
    EUR_25,
    LONDON,
    NOON,
    TWO_MUGS,
    Replies,
    a_delivery,
    a_step_key,
    an_envelope,
    an_order_request,
    authorize_payment,
    order_placed,
    reserve_stock,
)

pytestmark = pytest.mark.usefixtures("committed")


class Cost(NamedTuple):
    """`statements` are sent in fewer `round_trips`, where several travel together."""

    statements: int
    round_trips: int
    commits: int


@contextmanager
def counting(service: str) -> Iterator[Callable[[], Cost]]:
    """Counts what is sent to the service's database inside; BEGIN and COMMIT are counted as commits only."""
    connection = connections[settings.SERVICES[service]]
    connection.ensure_connection()
    statements: list[int] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        statements.append(sql.strip().strip(";").count(";") + 1)
        return execute(sql, *rest)

    with ExitStack() as stack:
        queries = stack.enter_context(CaptureQueriesContext(connection))
        stack.enter_context(connection.execute_wrapper(note))
        yield lambda: Cost(
            sum(statements),
            len(statements),
            sum(query["sql"] == "COMMIT" for query in queries.captured_queries),
        )


def cost_of(service: str, message: Any, *, key: str | None = None, repeated: bool = False) -> Cost:
    """Of handling the message; `repeated`: of handling it for the second time."""
    delivery = a_delivery(message, an_envelope(message, key=key))
    if repeated:
        consume(service, delivery)
    with counting(service) as cost:
        consume(service, delivery)
        return cost()


def a_placed_order() -> Any:
    return place_order(an_order_request(), checkout_key=str(uuid4())).order_id


def an_authorized_payment() -> tuple[Any, Any]:
    order_id, saga_id = uuid4(), uuid4()
    consume("billing", with_key(authorize_payment(order_id), a_step_key("authorize", saga_id=saga_id)))
    return order_id, saga_id


def with_key(command: Any, key: str) -> Any:
    return a_delivery(command, an_envelope(command, key=key))


def a_reservation() -> Any:
    order_id = uuid4()
    consume("inventory", a_delivery(reserve_stock(order_id)))
    return order_id


def cost_of_placing() -> Cost:
    with counting("orders") as cost:
        a_placed_order()
        return cost()


def cost_of_saga_batch(size: int, *, is_reply: bool) -> Cost:
    """Of the orchestrator's one transaction for so many messages of different sagas."""
    placed = [order_placed() for _ in range(size)]
    starts = [Incoming(an_envelope(message), message) for message in placed]
    batch = starts
    if is_reply:
        handle_batch(starts)
        replies = [(Replies(message.order_id).reserved, saga_id_of(CHECKOUT, message)) for message in placed]
        batch = [
            Incoming(an_envelope(reply, saga_id=saga_id, step="reserve", step_try=1), reply)
            for reply, saga_id in replies
        ]
    with counting("sagas") as cost:
        handle_batch(batch)
        return cost()


def cost_of_voiding() -> Cost:
    order_id, saga_id = an_authorized_payment()
    key = a_step_key("authorize", saga_id=saga_id, is_compensation=True)
    return cost_of("billing", VoidPayment(order_id=order_id), key=key)


def cost_of_asking(*, is_begun: bool = False, is_done: bool = False) -> Cost:
    """Of the question what became of an authorization: whose call broke off, that is done, or that never came."""
    order_id, saga_id = an_authorized_payment() if is_begun or is_done else (uuid4(), uuid4())
    if is_begun:
        order_id = uuid4()
        IdempotencyKey.objects.using(settings.SERVICES["billing"]).filter(
            key=a_step_key("authorize", saga_id=saga_id)
        ).update(state="started", reply=None, finished_at=None, lease_until=NOON)
    question = FindAuthorization(order_id=order_id, total=EUR_25)
    key = idempotency.question_key(saga_id=saga_id, step="authorize", step_try=1, number=1)
    return cost_of("billing", question, key=key)


def a_confirmed_order() -> Any:
    order_id = a_placed_order()
    consume("orders", a_delivery(ConfirmOrder(order_id=order_id)))
    return order_id


def an_order_being_cancelled() -> Any:
    order_id = a_confirmed_order()
    request_cancellation(order_id)
    return order_id


def cost_of_requesting_a_cancellation() -> Cost:
    order_id = a_confirmed_order()
    with counting("orders") as cost:
        request_cancellation(order_id)
        return cost()


def goods_sold() -> Any:
    order_id = a_reservation()
    consume("inventory", a_delivery(confirmed(order_id)))
    return order_id


def a_captured_payment() -> Any:
    order_id = an_authorized_payment()[0]
    consume("billing", a_delivery(CapturePayment(order_id=order_id)))
    return order_id


def a_booked_parcel() -> Any:
    order_id = uuid4()
    consume("shipping", a_delivery(BookShipment(order_id=order_id, ship_to=LONDON, lines=TWO_MUGS)))
    return order_id


def confirmed(order_id: Any) -> OrderConfirmed:
    return OrderConfirmed(order_id=order_id, contact=ADA, total=EUR_25, confirmed_at=NOON)


KINDS: dict[str, tuple[Callable[[], Cost], Cost]] = {
    "orders: place an order": (cost_of_placing, Cost(7, 5, 1)),
    "orders: ConfirmOrder": (
        lambda: cost_of("orders", ConfirmOrder(order_id=a_placed_order())),
        Cost(8, 4, 1),
    ),
    "orders: CancelOrder": (
        lambda: cost_of("orders", CancelOrder(order_id=a_placed_order(), reason="card_declined")),
        Cost(8, 4, 1),
    ),
    "orders: request a cancellation": (cost_of_requesting_a_cancellation, Cost(6, 3, 1)),
    "orders: RefuseCancellation": (
        lambda: cost_of(
            "orders", RefuseCancellation(order_id=an_order_being_cancelled(), reason="shipment_left")
        ),
        Cost(8, 4, 1),
    ),
    "orders: RefundOrder": (
        lambda: cost_of("orders", RefundOrder(order_id=an_order_being_cancelled())),
        Cost(8, 4, 1),
    ),
    "orders: progress (StockReserved)": (
        lambda: cost_of("orders", StockReserved(order_id=uuid4(), lines=TWO_MUGS)),
        Cost(3, 2, 1),
    ),
    "inventory: ReserveStock": (lambda: cost_of("inventory", reserve_stock(uuid4())), Cost(8, 3, 1)),
    "inventory: ReserveStock, duplicate": (
        lambda: cost_of("inventory", reserve_stock(uuid4()), repeated=True),
        Cost(4, 3, 1),
    ),
    "inventory: ReserveStock, refused": (
        lambda: cost_of("inventory", reserve_stock(uuid4(), sku="lamp")),
        Cost(7, 3, 1),
    ),
    "inventory: ReleaseStock": (
        lambda: cost_of("inventory", ReleaseStock(order_id=a_reservation())),
        Cost(9, 4, 1),
    ),
    "inventory: OrderConfirmed": (lambda: cost_of("inventory", confirmed(a_reservation())), Cost(6, 4, 1)),
    "inventory: RestockGoods": (
        lambda: cost_of("inventory", RestockGoods(order_id=goods_sold())),
        Cost(9, 4, 1),
    ),
    "billing: AuthorizePayment": (lambda: cost_of("billing", authorize_payment(uuid4())), Cost(9, 6, 2)),
    "billing: CapturePayment": (
        lambda: cost_of("billing", CapturePayment(order_id=an_authorized_payment()[0])),
        Cost(11, 8, 2),
    ),
    "billing: VoidPayment": (cost_of_voiding, Cost(11, 8, 2)),
    "billing: FindAuthorization, done": (lambda: cost_of_asking(is_done=True), Cost(7, 5, 1)),
    "billing: FindAuthorization, never came": (lambda: cost_of_asking(), Cost(7, 4, 1)),
    "billing: FindAuthorization, broken off": (lambda: cost_of_asking(is_begun=True), Cost(12, 9, 2)),
    "billing: RefundPayment": (
        lambda: cost_of("billing", RefundPayment(order_id=a_captured_payment())),
        Cost(11, 8, 2),
    ),
    "shipping: BookShipment": (
        lambda: cost_of("shipping", BookShipment(order_id=uuid4(), ship_to=LONDON, lines=TWO_MUGS)),
        Cost(9, 6, 2),
    ),
    "shipping: CancelShipment": (
        lambda: cost_of(
            "shipping", CancelShipment(order_id=uuid4()), key=a_step_key("ship", is_compensation=True)
        ),
        Cost(10, 7, 2),
    ),
    "shipping: RecallShipment": (
        lambda: cost_of("shipping", RecallShipment(order_id=a_booked_parcel())),
        Cost(10, 7, 2),
    ),
    "notifications: OrderConfirmed": (lambda: cost_of("notifications", confirmed(uuid4())), Cost(8, 8, 2)),
    "sagas: 1 start": (lambda: cost_of_saga_batch(1, is_reply=False), Cost(9, 5, 1)),
    "sagas: 1 reply": (lambda: cost_of_saga_batch(1, is_reply=True), Cost(8, 4, 1)),
    "sagas: 50 starts in a batch": (lambda: cost_of_saga_batch(50, is_reply=False), Cost(9, 5, 1)),
    "sagas: 50 replies in a batch": (lambda: cost_of_saga_batch(50, is_reply=True), Cost(8, 4, 1)),
}
"""Kind of message: how its cost is measured, and what it costs."""


def test_a_message_costs_what_is_written_here(gateway, capsys):
    measured = {kind: measure() for kind, (measure, _) in KINDS.items()}

    lines = [f"{'message':<38} statements  round trips  commits"]
    lines += [
        f"{kind:<38} {cost.statements:>10} {cost.round_trips:>12} {cost.commits:>8}"
        for kind, cost in measured.items()
    ]
    with capsys.disabled():
        sys.stdout.write("\n\n" + "\n".join(lines) + "\n")
    assert measured == {kind: written for kind, (_, written) in KINDS.items()}
