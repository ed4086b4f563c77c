"""What only shows where transactions are committed: simultaneous requests, and news by notification."""

import json
import uuid
from typing import Any

import pytest
from django.conf import settings
from django.db import connections
from django.test import Client

from messaging.unit_of_work import unit_of_work
from orders import services
from orders.catalogue import load_catalogue
from orders.models import Checkout, Order, OrderStep
from tests.at_once import at_once


@pytest.fixture
def shop(committed):
    load_catalogue()


def test_twenty_simultaneous_submissions_of_one_form_make_one_order(shop, new_browser, delivery):
    key = f"simultaneous-{uuid.uuid4().hex}"
    form = {**delivery, "checkout_key": key, "lines": "mug:1", "total": "1250 EUR"}

    answers = at_once(*[lambda: new_browser().submit(form)] * 20)

    assert {answer.status_code for answer in answers} == {303}
    (address,) = {answer.headers["Location"] for answer in answers}
    assert address == f"/orders/{Checkout.objects.get(key=key).order_id}/"
    assert Order.objects.filter(id=address.split("/")[2]).count() == 1


def test_twenty_simultaneous_requests_with_one_key_make_one_order(shop):
    body = {
        "customer": {"name": "Ada", "email": "ada@example.com"},
        "ship_to": {
            "line1": "12 St James's Square",
            "city": "London",
            "postcode": "SW1Y 4JH",
            "country": "GB",
        },
        "payment_token": "tok_visa",
        "lines": [{"sku": "mug", "quantity": 1}],
    }
    key = uuid.uuid4().hex

    def send() -> Any:
        return Client().post(
            "/api/orders", json.dumps(body), content_type="application/json", headers={"Idempotency-Key": key}
        )

    answers = at_once(*[send] * 20)

    assert {answer.status_code for answer in answers} <= {202, 409}
    assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 409)
    (order_id,) = {answer.json()["order_id"] for answer in answers if answer.status_code == 202}
    assert Order.objects.filter(id=order_id).count() == 1
    assert send().json()["order_id"] == order_id


@pytest.fixture
def order_address(shop, new_browser, delivery) -> str:
    key = f"live-{uuid.uuid4().hex}"
    form = {**delivery, "checkout_key": key, "lines": "mug:1", "total": "1250 EUR"}
    return new_browser().submit(form).headers["Location"]


def record(address: str, step: OrderStep.Name) -> None:
    with unit_of_work("orders"):
        services.record_progress(uuid.UUID(address.split("/")[2]), step=step, state=OrderStep.State.DONE)


def next_event(pieces: Any) -> bytes:
    return next(piece for piece in pieces if piece.startswith(b"event:"))


def test_an_open_page_is_told_when_a_step_is_done(order_address, listener):
    answer = Client().get(f"{order_address}events")
    pieces = iter(answer.streaming_content)
    assert b"Setting your goods aside" in next_event(pieces)

    record(order_address, OrderStep.Name.RESERVE)

    assert b"Asking your bank" in next_event(pieces)
    answer.close()


def test_a_listener_that_was_cut_off_comes_back_and_nothing_is_missed(order_address, listener):
    answer = Client().get(f"{order_address}events")
    pieces = iter(answer.streaming_content)
    next_event(pieces)
    record(order_address, OrderStep.Name.RESERVE)
    next_event(pieces)

    with connections[settings.SERVICES["orders"]].cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE 'LISTEN %%' AND datname = current_database()",
            [],
        )
        assert cursor.rowcount == 1
    record(order_address, OrderStep.Name.AUTHORIZE)

    assert b"Booking your parcel" in next_event(pieces)
    answer.close()
