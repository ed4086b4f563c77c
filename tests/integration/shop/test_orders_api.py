"""Orders in JSON: once for each Idempotency-Key, and every refusal names its field."""

import json
import uuid
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from orders import api
from orders.api_requests import LEASE
from orders.models import ApiRequest, Order, OrderStep

pytestmark = pytest.mark.django_db(databases="__all__", transaction=False)


def a_body(**changes):
    return {
        "customer": {"name": "Ada Lovelace", "email": "ada@example.com"},
        "ship_to": {
            "line1": "12 St James's Square",
            "city": "London",
            "postcode": "SW1Y 4JH",
            "country": "GB",
        },
        "payment_token": "tok_visa",
        "lines": [{"sku": "mug", "quantity": 2}],
        **changes,
    }


def send(body, *, key="a-key", client="Bearer one", raw=None, content_type="application/json"):
    headers = {"Authorization": client} if client else {}
    if key is not None:
        headers["Idempotency-Key"] = key
    return Client(enforce_csrf_checks=True).post(
        "/api/orders",
        raw if raw is not None else json.dumps(body),
        content_type=content_type,
        headers=headers,
    )


def problem(answer, status):
    assert answer.status_code == status, answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
    document = json.loads(answer.content)
    assert document["status"] == status
    return document


def test_an_order_is_accepted_and_can_be_asked_for(catalogue):
    answer = send(a_body())

    assert answer.status_code == 202
    document = answer.json()
    order = Order.objects.get()
    assert document == {
        "order_id": str(order.id),
        "status": "pending",
        "url": f"http://testserver/orders/{order.id}/",
    }
    assert "Idempotent-Replayed" not in answer.headers
    OrderStep.objects.create(order_id=order.id, name="reserve", state="done", at=order.placed_at)
    told = Client().get(answer.headers["Location"]).json()
    assert told["status"] == "pending" and told["reason"] is None
    assert told["total"] == {"amount": 2500, "currency": "EUR"}
    assert [(step["name"], step["state"]) for step in told["steps"]] == [
        ("placed", "done"),
        ("reserve", "done"),
    ]


def test_the_same_request_is_answered_again_with_the_same_answer(catalogue):
    first = send(a_body())
    Order.objects.update(status="confirmed", finished_at=timezone.now())

    again = send(a_body())

    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["Idempotent-Replayed"] == "true"
    assert Order.objects.count() == 1


def test_a_key_with_or_without_quotes_is_the_same(catalogue):
    assert send(a_body(), key='"k1"').json() == send(a_body(), key="k1").json()


def test_keys_of_two_clients_never_meet(catalogue):
    one, other, address = send(a_body()), send(a_body(), client="Bearer two"), send(a_body(), client=None)

    assert len({answer.json()["order_id"] for answer in (one, other, address)}) == 3


def test_without_a_key_nothing_happens(catalogue):
    assert problem(send(a_body(), key=None), 400)["field"] == "Idempotency-Key"
    assert problem(send(a_body(), key=""), 400)["field"] == "Idempotency-Key"
    assert problem(send(a_body(), key="x" * 201), 400)["field"] == "Idempotency-Key"
    assert not Order.objects.exists()


def test_a_key_with_other_contents_names_what_differs(catalogue):
    send(a_body())
    other = a_body(payment_token="tok_declined", customer={"name": "Bob", "email": "ada@example.com"})

    document = problem(send(other), 422)

    assert document["fields"] == ["customer.name", "payment_token"]
    assert Order.objects.count() == 1


def test_while_the_first_is_in_flight_the_second_is_told_when_to_come_back(catalogue):
    send(a_body())
    ApiRequest.objects.update(status=None, response=None, lease_until=timezone.now() + timedelta(seconds=7))

    answer = send(a_body())

    problem(answer, 409)
    assert 1 <= int(answer.headers["Retry-After"]) <= 7


def test_a_process_that_dies_before_the_order_leaves_the_key_to_the_next(catalogue, monkeypatch):
    def die(*_, **__):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(api, "place_order", die)
        with pytest.raises(SystemExit):
            send(a_body())
    problem(send(a_body()), 409)
    ApiRequest.objects.update(lease_until=timezone.now() - timedelta(microseconds=1))

    assert send(a_body()).status_code == 202
    assert Order.objects.count() == 1


def test_a_process_that_dies_after_the_order_leaves_one_order(catalogue):
    first = send(a_body())
    ApiRequest.objects.update(status=None, response=None, lease_until=timezone.now() - LEASE)

    again = send(a_body())

    assert (again.status_code, again.json()) == (202, first.json())
    assert Order.objects.count() == 1


def test_a_refused_request_leaves_the_key_free_for_a_mended_one(catalogue):
    assert problem(send(a_body(lines=[{"sku": "unicorn", "quantity": 1}])), 400)["field"] == "lines"
    assert not ApiRequest.objects.exists()

    assert send(a_body()).status_code == 202


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"lines": []}, "lines"),
        ({"lines": [{"sku": "mug", "quantity": 0}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "mug", "quantity": 100}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "mug", "quantity": 1.5}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "mug", "quantity": "2"}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "mug", "quantity": True}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "mug"}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "Mug!", "quantity": 1}]}, "lines[0].sku"),
        ({"lines": [{"sku": "mug", "quantity": 1}, {"sku": "mug", "quantity": 1}]}, "lines[1].sku"),
        ({"customer": {"name": "Ada", "email": "nope"}}, "customer.email"),
        ({"customer": {"name": " ", "email": "a@example.com"}}, "customer.name"),
        ({"customer": {"name": "Ada\x00", "email": "a@example.com"}}, "customer.name"),
        ({"customer": {"name": "Ada\nBcc: x", "email": "a@example.com"}}, "customer.name"),
        ({"customer": None}, "customer"),
        ({"payment_token": "visa"}, "payment_token"),
        ({"payment_token": 7}, "payment_token"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_field_is_named(catalogue, changes, field):
    assert problem(send(a_body(**changes)), 400)["field"] == field
    assert not Order.objects.exists()


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("country", "XX", "ship_to.country"),
        ("postcode", "?!", "ship_to.postcode"),
        ("line1", "", "ship_to.line1"),
        ("floor", "3", "ship_to.floor"),
    ],
)
def test_a_wrong_address_is_named(catalogue, name, value, field):
    body = a_body()
    body["ship_to"][name] = value

    assert problem(send(body), 400)["field"] == field


def test_a_missing_field_is_named(catalogue):
    body = a_body()
    del body["ship_to"]["city"]

    assert problem(send(body), 400)["field"] == "ship_to.city"


@pytest.mark.parametrize(
    "raw", [" ", "{", "[]", "null", '"text"', b"\xff\xfe", '{"customer": {"name": "\\ud800"}}', "[" * 5000]
)
def test_what_is_no_order_is_refused(catalogue, raw):
    problem(send(None, raw=raw), 400)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"payment_token": "4242424242424242"}, "payment_token"),
        ({"payment_token": "tok_4242424242424242"}, "payment_token"),
        ({"card": {"number": "4242 4242 4242 4242"}}, "card.number"),
        ({"card": 4242424242424242}, "card"),
        ({"4242424242424242": 1}, "body"),
    ],
)
def test_a_card_number_is_refused_wherever_it_is_and_not_repeated(catalogue, changes, field):
    answer = send(a_body(**changes))

    document = problem(answer, 400)
    assert document["field"] == field
    assert "card number" in document["detail"]
    assert b"4242" not in answer.content


def test_other_kinds_of_body_are_refused(catalogue):
    problem(send(a_body(), content_type="text/plain"), 415)
    problem(send(a_body(customer={"name": "x" * 70_000, "email": "a@example.com"})), 413)


def test_unknown_orders_addresses_and_methods_are_problems(db):
    client = Client()
    assert problem(client.get(f"/api/orders/{uuid.uuid4()}"), 404)["field"] == "order_id"
    problem(client.get("/api/orders/17"), 404)
    problem(client.get("/api/nothing"), 404)
    answer = client.get("/api/orders")
    problem(answer, 405)
    assert answer.headers["Allow"] == "POST"
