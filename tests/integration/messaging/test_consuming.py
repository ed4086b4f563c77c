"""A message has its effect once, however often and in whatever order it is delivered."""

from datetime import timedelta
from uuid import uuid4

import msgspec
import pytest
from django.conf import settings
from django.db import connections

from contracts.billing import VoidPayment
from contracts.inventory import ReleaseStock, ReserveStock, StockReserved
from contracts.orders import ConfirmOrder, OrderConfirmed
from inventory import handlers, services
from inventory.models import Reservation, StockItem
from inventory.services import receive
from messaging.consumer import consume
from messaging.delivery import Delivery
from messaging.errors import PermanentError
from messaging.handling import handlers_of
from messaging.policies import RetryPolicy
from messaging.settlement import Rejected
from tests.at_once import at_once
from tests.builders import (
    ADA,
    EUR_25,
    NOON,
    a_delivery,
    a_step_key,
    an_envelope,
    reserve_stock,
)

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def sku() -> str:
    """An article of the test's own, ten pieces of it."""
    name = f"article-{uuid4().hex[:10]}"
    receive(name, 10)
    return name


def on_hand(sku: str) -> int:
    return StockItem.objects.get(sku=sku).on_hand


def test_a_duplicate_has_no_further_effect_and_is_answered_with_the_same_message(sku, bookkeeping):
    order_id = uuid4()
    delivery = a_delivery(reserve_stock(order_id, sku=sku))

    consume("inventory", delivery)
    consume("inventory", delivery)

    assert on_hand(sku) == 8
    first, again = bookkeeping("inventory").outgoing(order_id)
    assert (first.type, first.message_id, first.body) == (again.type, again.message_id, again.body)


def test_a_repeated_command_with_an_id_of_its_own_is_recognised_by_its_key(sku, bookkeeping):
    order_id, key = uuid4(), a_step_key("reserve")
    command = reserve_stock(order_id, sku=sku)

    for _ in range(3):
        consume("inventory", a_delivery(command, an_envelope(command, key=key)))

    assert on_hand(sku) == 8
    assert len({row.message_id for row in bookkeeping("inventory").outgoing(order_id)}) == 1


def test_twenty_deliveries_at_once_have_one_effect(sku, bookkeeping):
    order_id = uuid4()
    delivery = a_delivery(reserve_stock(order_id, sku=sku))

    at_once(*[lambda: consume("inventory", delivery)] * 20)

    assert on_hand(sku) == 8
    assert len({row.message_id for row in bookkeeping("inventory").outgoing(order_id)}) == 1


def test_a_refusal_is_a_reply_and_no_failure(sku, bookkeeping):
    order_id = uuid4()
    envelope = an_envelope(reserve_stock(order_id, sku=sku, quantity=11))

    consume("inventory", a_delivery(reserve_stock(order_id, sku=sku, quantity=11), envelope))

    assert bookkeeping("inventory").types_outgoing(order_id) == ["inventory.stock_unavailable.v1"]
    assert bookkeeping("inventory").failures(envelope.message_id) == []
    assert on_hand(sku) == 10


def test_an_action_after_its_compensation_takes_no_effect(sku, bookkeeping):
    """The barrier: a release that comes first claims the reservation's key too."""
    order_id, saga_id = uuid4(), uuid4()
    release, reserve = ReleaseStock(order_id=order_id), reserve_stock(order_id, sku=sku)
    undo_key = a_step_key("reserve", saga_id=saga_id, is_compensation=True)

    consume("inventory", a_delivery(release, an_envelope(release, key=undo_key)))
    consume(
        "inventory", a_delivery(reserve, an_envelope(reserve, key=a_step_key("reserve", saga_id=saga_id)))
    )

    assert on_hand(sku) == 10
    assert Reservation.objects.get(order_id=order_id).state == "released"
    released, again = bookkeeping("inventory").outgoing(order_id)
    assert released.type == again.type == "inventory.stock_released.v1"
    assert released.message_id == again.message_id


def test_a_compensation_after_its_action_undoes_it_once(sku):
    order_id, saga_id = uuid4(), uuid4()
    release, reserve = ReleaseStock(order_id=order_id), reserve_stock(order_id, sku=sku)
    undo_key = a_step_key("reserve", saga_id=saga_id, is_compensation=True)

    consume(
        "inventory", a_delivery(reserve, an_envelope(reserve, key=a_step_key("reserve", saga_id=saga_id)))
    )
    assert on_hand(sku) == 8
    for _ in range(2):
        consume("inventory", a_delivery(release, an_envelope(release, key=undo_key)))

    assert on_hand(sku) == 10


def test_a_failed_attempt_leaves_nothing_but_its_record_and_the_next_one(sku, bookkeeping, monkeypatch):
    order_id = uuid4()
    envelope = an_envelope(reserve_stock(order_id, sku=sku))

    def reserve_then_fail(order_id, lines):
        monkeypatch.undo()
        services.reserve(order_id, lines)
        raise ConnectionError("the shelf fell over")

    monkeypatch.setattr(handlers.services, "reserve", reserve_then_fail)
    consume("inventory", a_delivery(reserve_stock(order_id, sku=sku), envelope))

    books = bookkeeping("inventory")
    assert on_hand(sku) == 10
    assert books.key(envelope.idempotency_key) is None
    (failure,) = books.failures(envelope.message_id)
    assert failure.exception == "ConnectionError: the shelf fell over"
    assert "reserve_then_fail" in failure.traceback
    (retry,) = books.outgoing(order_id)
    assert (retry.exchange, retry.routing_key) == ("", "inventory"), "a retry goes to one queue only"
    assert retry.message_id == envelope.message_id
    assert retry.headers["attempt"] == 2
    assert retry.headers["origin_exchange"] == "commands"
    assert retry.available_at == failure.next_attempt_at > failure.failed_at

    again = Delivery(headers={**retry.headers}, payload=retry.body, exchange="", routing_key="inventory")
    consume("inventory", again)
    assert on_hand(sku) == 8


def test_an_attempt_that_was_recorded_is_settled_without_running_again(sku, bookkeeping, monkeypatch):
    """The broker delivers it again when the worker dies between the record's commit and the acknowledgement."""
    order_id, runs = uuid4(), []
    envelope = an_envelope(reserve_stock(order_id, sku=sku))

    def fail(order_id, lines):
        runs.append(order_id)
        raise ConnectionError

    monkeypatch.setattr(handlers.services, "reserve", fail)
    consume("inventory", a_delivery(reserve_stock(order_id, sku=sku), envelope))
    consume("inventory", a_delivery(reserve_stock(order_id, sku=sku), envelope, is_redelivered=True))

    assert len(runs) == 1
    assert len(bookkeeping("inventory").failures(envelope.message_id)) == 1
    assert len(bookkeeping("inventory").outgoing(order_id)) == 1


def test_when_the_attempts_run_out_the_message_is_rejected(sku, bookkeeping, monkeypatch):
    order_id = uuid4()
    last = an_envelope(reserve_stock(order_id, sku=sku), attempt=settings.RETRY_ATTEMPTS)

    def fail(order_id, lines):
        raise ConnectionError("still broken")

    monkeypatch.setattr(handlers.services, "reserve", fail)
    with pytest.raises(Rejected, match="still broken"):
        consume("inventory", a_delivery(reserve_stock(order_id, sku=sku), last))
    with pytest.raises(Rejected):
        consume("inventory", a_delivery(reserve_stock(order_id, sku=sku), last, is_redelivered=True))

    (failure,) = bookkeeping("inventory").failures(last.message_id)
    assert failure.next_attempt_at is None
    assert bookkeeping("inventory").outgoing(order_id) == []


def test_a_handler_s_own_policy_decides_how_often_and_when(sku, bookkeeping, monkeypatch):
    order_id, declared = uuid4(), handlers_of("inventory")[ReserveStock.wire_type]
    policy = RetryPolicy(attempts=2, first_pause=300, longest_pause=300, permanent=(LookupError,))
    own = msgspec.structs.replace(declared, retry=policy)
    monkeypatch.setitem(handlers_of("inventory"), ReserveStock.wire_type, own)
    errors = [ConnectionError("broken"), ConnectionError("still broken"), LookupError("gone")]

    def fail(order_id, lines):
        raise errors.pop(0)

    monkeypatch.setattr(handlers.services, "reserve", fail)
    first, books = an_envelope(reserve_stock(order_id, sku=sku)), bookkeeping("inventory")
    consume("inventory", a_delivery(reserve_stock(order_id, sku=sku), first))
    (failure,) = books.failures(first.message_id)
    assert timedelta(seconds=150) <= failure.next_attempt_at - failure.failed_at <= timedelta(seconds=300)

    second = first.following(attempt=2, came_by=("commands", "inventory.reserve_stock"))
    for envelope in (second, an_envelope(reserve_stock(order_id, sku=sku))):
        with pytest.raises(Rejected):
            consume("inventory", a_delivery(reserve_stock(order_id, sku=sku), envelope))
        assert books.failures(envelope.message_id)[-1].next_attempt_at is None


def test_a_permanent_error_is_rejected_at_once(sku, bookkeeping, monkeypatch):
    envelope = an_envelope(reserve_stock(uuid4(), sku=sku))

    def refuse(order_id, lines):
        raise PermanentError("this can never be reserved")

    monkeypatch.setattr(handlers.services, "reserve", refuse)
    with pytest.raises(Rejected, match="never be reserved"):
        consume("inventory", a_delivery(reserve_stock(uuid4(), sku=sku), envelope))

    assert len(bookkeeping("inventory").failures(envelope.message_id)) == 1


def test_a_recorded_failure_quotes_no_row(sku, bookkeeping, monkeypatch):
    envelope = an_envelope(reserve_stock(uuid4(), sku=sku))

    def violate(order_id, lines):
        with connections[settings.SERVICES["inventory"]].cursor() as cursor:
            cursor.execute("INSERT INTO inventory_reservation (lines) VALUES (%s)", ['["12 Main Street"]'])

    monkeypatch.setattr(handlers.services, "reserve", violate)
    consume("inventory", a_delivery(reserve_stock(uuid4(), sku=sku), envelope))

    (failed,) = bookkeeping("inventory").failures(envelope.message_id)
    assert "violates not-null constraint" in failed.exception
    assert "Main Street" not in failed.exception
    assert "DETAIL: " not in failed.traceback
    assert "in violate" in failed.traceback


def test_a_log_says_nothing_of_customers_and_the_record_has_all_of_it(bookkeeping, monkeypatch, caplog):
    declared, order_id = handlers_of("notifications")[OrderConfirmed.wire_type], uuid4()
    event = OrderConfirmed(order_id=order_id, contact=ADA, total=EUR_25, confirmed_at=NOON)

    def fail(message, action_key):
        raise ValueError(f"no mail can be written to {ADA.name} <{ADA.email}>")

    own = msgspec.structs.replace(declared, prepare=fail)
    monkeypatch.setitem(handlers_of("notifications"), OrderConfirmed.wire_type, own)
    envelope = an_envelope(event)
    consume("notifications", a_delivery(event, envelope))

    (failed,) = bookkeeping("notifications").failures(envelope.message_id)
    assert ADA.email in failed.exception
    assert "ValueError: no mail can be written to (hidden)" in caplog.text
    for secret in (ADA.name, ADA.email):
        assert secret not in caplog.text


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda d: {**d, "type": "inventory.lend_stock.v1"}, "has no message type 'inventory.lend_stock.v1'"),
        (lambda d: {**d, "type": ConfirmOrder.wire_type}, "no handler for 'orders.confirm_order.v1'"),
        (lambda d: {name: d[name] for name in d if name != "message_id"}, "message_id"),
        (lambda d: {**d, "message_id": "no uuid"}, "message_id"),
    ],
    ids=["unknown type", "another service's type", "no id", "wrong id"],
)
def test_headers_that_cannot_be_understood_are_rejected_with_the_reason(spoil, problem):
    message = reserve_stock(uuid4())
    delivery = a_delivery(message)
    spoilt = Delivery(
        headers=spoil(delivery.headers),
        payload=delivery.payload,
        exchange="commands",
        routing_key="inventory.reserve_stock",
    )

    with pytest.raises(Rejected, match=problem):
        consume("inventory", spoilt)


def test_a_body_that_cannot_be_understood_is_rejected_and_recorded(bookkeeping):
    envelope = an_envelope(reserve_stock(uuid4()))
    delivery = Delivery(
        headers=envelope.to_headers(),
        payload={"order_id": "?"},
        exchange="commands",
        routing_key="inventory.reserve_stock",
    )

    with pytest.raises(Rejected, match="order_id"):
        consume("inventory", delivery)

    (failure,) = bookkeeping("inventory").failures(envelope.message_id)
    assert failure.exception.startswith("InvalidMessage")


def test_a_confirmation_that_overtakes_the_reservation_is_tried_again(sku, bookkeeping):
    order_id = uuid4()
    confirmed = OrderConfirmed(order_id=order_id, contact=ADA, total=EUR_25, confirmed_at=NOON)
    envelope = an_envelope(confirmed)

    consume("inventory", a_delivery(confirmed, envelope))
    (retry,) = bookkeeping("inventory").outgoing(order_id)
    consume("inventory", a_delivery(reserve_stock(order_id, sku=sku)))
    consume(
        "inventory", Delivery(headers=retry.headers, payload=retry.body, exchange="", routing_key="inventory")
    )

    assert StockItem.objects.get(sku=sku).sold == 2


def test_a_service_knows_its_own_handlers_only():
    assert StockReserved.wire_type in handlers_of("orders")
    assert VoidPayment.wire_type in handlers_of("billing")
    assert VoidPayment.wire_type not in handlers_of("orders")


def test_a_mistake_of_a_handler_with_its_cursor_is_no_database_that_is_away(sku, bookkeeping, monkeypatch):
    def mistaken(command: ReserveStock) -> None:
        with connections[settings.SERVICES["inventory"]].cursor() as cursor:
            pass
        cursor.execute("SELECT 1")

    declared = handlers_of("inventory")[ReserveStock.wire_type]
    own = msgspec.structs.replace(declared, run=mistaken, retry=RetryPolicy(attempts=1))
    monkeypatch.setitem(handlers_of("inventory"), ReserveStock.wire_type, own)
    monkeypatch.setattr("messaging.consumer.wait_until_back", lambda _: pytest.fail("it waits for ever"))
    envelope = an_envelope(reserve_stock(uuid4(), sku=sku))

    with pytest.raises(Rejected, match="cursor already closed"):
        consume("inventory", a_delivery(reserve_stock(uuid4(), sku=sku), envelope))

    assert len(bookkeeping("inventory").failures(envelope.message_id)) == 1
