"""The shared language: literal names, JSON bodies, and sentences about what does not fit."""

import re
from uuid import UUID

import msgspec
import pytest

from contracts import reasons
from contracts.billing import AuthorizationNotFound, CaptureNotFound, FindAuthorization, FindCapture
from contracts.catalogue import MESSAGE_TYPES
from contracts.inventory import ItemReturned, ReserveStock, RestockGoods
from contracts.message import Command, Event
from contracts.orders import CancellationRequested, RefundOrder, RefuseCancellation
from contracts.shipping import RecallShipment
from contracts.values import Money
from tests.builders import EUR_25, NOON, Replies, authorize_payment, order_placed, reserve_stock

ORDER_ID = UUID("0f0e0d0c-0b0a-4908-8706-050403020100")
EXAMPLES = [order_placed(ORDER_ID), reserve_stock(ORDER_ID), authorize_payment(ORDER_ID)]
EXAMPLES += list(vars(Replies(ORDER_ID)).values())
EXAMPLES += [
    CancellationRequested(request_id=ORDER_ID, order_id=ORDER_ID, total=EUR_25, requested_at=NOON),
    RefuseCancellation(order_id=ORDER_ID, reason=reasons.SHIPMENT_LEFT),
    RefundOrder(order_id=ORDER_ID),
    RecallShipment(order_id=ORDER_ID),
    RestockGoods(order_id=ORDER_ID),
    ItemReturned(sku="mug", quantity=2, order_id=ORDER_ID),
    FindAuthorization(order_id=ORDER_ID, total=EUR_25),
    AuthorizationNotFound(order_id=ORDER_ID),
    FindCapture(order_id=ORDER_ID),
    CaptureNotFound(order_id=ORDER_ID),
]


@pytest.mark.parametrize("wire_type", MESSAGE_TYPES)
def test_a_wire_type_names_owner_message_and_version_and_no_class(wire_type):
    assert re.fullmatch(r"[a-z]+\.[a-z_]+\.v[0-9]+", wire_type)
    assert MESSAGE_TYPES[wire_type].wire_type == wire_type


@pytest.mark.parametrize("message_type", MESSAGE_TYPES.values())
def test_every_message_is_a_command_or_an_event_and_cannot_be_changed(message_type):
    assert issubclass(message_type, Command) != issubclass(message_type, Event)
    assert message_type.__struct_config__.frozen


def test_a_command_is_routed_without_its_version_and_an_event_with_it():
    assert ReserveStock.routing_key() == "inventory.reserve_stock"
    assert type(Replies(ORDER_ID).reserved).routing_key() == "inventory.stock_reserved.v1"


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_a_message_comes_back_from_json_as_it_was(message):
    typed = type(message).from_payload(message.to_payload())
    body = msgspec.json.encode(typed.to_payload())

    assert type(message).from_payload(msgspec.json.decode(body)) == typed


def test_a_body_that_does_not_fit_is_refused_with_the_name_of_the_field():
    with pytest.raises(msgspec.ValidationError, match=r"quantity|lines\[0\]"):
        ReserveStock.from_payload({"order_id": str(ORDER_ID), "lines": [{"sku": "mug", "quantity": 0}]})
    with pytest.raises(msgspec.ValidationError, match="order_id"):
        ReserveStock.from_payload({"lines": []})


def test_a_field_of_a_newer_release_is_passed_over():
    payload = {**reserve_stock(ORDER_ID).to_payload(), "gift_wrap": True}

    assert ReserveStock.from_payload(payload).lines[0].sku == "mug"


@pytest.mark.parametrize(("amount", "currency"), [(-1, "EUR"), (1, "euro"), (1, "EU"), (1.5, "EUR")])
def test_money_is_whole_minor_units_and_a_currency_code(amount, currency):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"amount": amount, "currency": currency}, type=Money)


def test_times_keep_their_zone():
    placed = order_placed()

    assert placed.to_payload()["placed_at"] == "2026-11-23T12:00:00Z"
    assert type(placed).from_payload(placed.to_payload()).placed_at == NOON
