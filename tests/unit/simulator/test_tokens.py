"""A browser exchanges a card number for a token, and nothing else learns the number."""

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.unit.simulator.conftest import GatewayProcess

SHOP = "http://shop.example"
STRANGER = "http://stranger.example"


def test_a_number_becomes_a_token_that_behaves_like_the_card(gateway: "GatewayProcess") -> None:
    response = gateway.post("/v1/tokens", number="4000 0000 0000 9995", exp="12/39", cvc="123")

    assert response.status == 201
    card = response.json()
    assert (card["brand"], card["last4"]) == ("visa", "9995")
    refusal = gateway.authorize(card["token"])
    assert (refusal.status, refusal.json()) == (402, {"status": "declined", "reason": "insufficient_funds"})


def test_the_number_is_neither_stored_nor_logged_nor_repeated(gateway: "GatewayProcess") -> None:
    good, mistyped = "5105105105105100", "5105105105105101"
    answers = [
        gateway.post("/v1/tokens", number=good).data,
        gateway.post("/v1/tokens", number=mistyped).data,
        gateway.request("POST", "/v1/tokens", body=f'{{"number": {good}}}'.encode()).data,
        gateway.request("POST", "/v1/tokens", body=f'{{"number": "{good}"'.encode()).data,
    ]

    kept = [path.read_bytes() for path in gateway.books.parent.iterdir()]

    assert len(kept) >= 2
    for text in answers + kept:
        assert good.encode() not in text
        assert mistyped.encode() not in text


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "number"),
        ({"number": 4242424242424242}, "number"),
        ({"number": "4242424242424241"}, "number"),
        ({"number": "4242424242424242", "exp": "12/20"}, "exp"),
        ({"number": "4242424242424242", "cvc": "1"}, "cvc"),
    ],
)
def test_a_wrong_field_is_named(gateway: "GatewayProcess", body: dict[str, Any], field: str) -> None:
    response = gateway.post("/v1/tokens", **body)

    assert response.status == 400
    assert response.json()["error"]["field"] == field


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b'"text"', b"[" * 60_000])
def test_a_body_that_is_no_object_is_refused(gateway: "GatewayProcess", body: bytes) -> None:
    response = gateway.request("POST", "/v1/tokens", body=body)

    assert (response.status, response.json()["error"]["code"]) == (400, "invalid_json")


def test_a_huge_body_is_refused(gateway: "GatewayProcess") -> None:
    assert gateway.request("POST", "/v1/tokens", body=b" " * 70_000).status == 413


def test_the_shops_page_may_call_from_the_browser(gateway: "GatewayProcess") -> None:
    asked = {"Origin": SHOP, "Access-Control-Request-Method": "POST"}
    preflight = gateway.request("OPTIONS", "/v1/tokens", headers=asked)
    refusal = gateway.request("POST", "/v1/tokens", headers={"Origin": SHOP}, body=b"{}")

    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Methods"] == "POST"
    assert preflight.headers["Access-Control-Allow-Headers"] == "Content-Type"
    for response in (preflight, refusal):
        assert response.headers["Access-Control-Allow-Origin"] == SHOP
        assert response.headers["Vary"] == "Origin"


def test_no_other_page_may(gateway: "GatewayProcess") -> None:
    response = gateway.request("OPTIONS", "/v1/tokens", headers={"Origin": STRANGER})

    assert "Access-Control-Allow-Origin" not in response.headers
    assert response.headers["Vary"] == "Origin"


def test_money_is_no_business_of_a_browser(gateway: "GatewayProcess") -> None:
    response = gateway.request("OPTIONS", "/v1/authorizations", headers={"Origin": SHOP})

    assert response.status == 405
    assert "Access-Control-Allow-Origin" not in response.headers


def test_every_test_card_is_offered_with_a_token_that_works(gateway: "GatewayProcess") -> None:
    offered = gateway.get("/v1/test-cards").json()["cards"]

    assert [card["token"] for card in offered] == [
        "tok_visa",
        "tok_declined",
        "tok_insufficient_funds",
        "tok_flaky",
        "tok_capture_refused",
        "tok_executes_then_times_out",
    ]
    assert all(card["number"] and card["label"] and card["outcome"] for card in offered)


def test_unknown_addresses_and_methods_are_answered_in_json(gateway: "GatewayProcess") -> None:
    unknown, wrong = gateway.get("/v1/nothing"), gateway.get("/v1/tokens")

    assert (unknown.status, json.loads(unknown.data)["error"]["code"]) == (404, "unknown_address")
    assert (wrong.status, json.loads(wrong.data)["error"]["code"]) == (405, "wrong_method")
