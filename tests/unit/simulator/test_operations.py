"""What happens to the money."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.simulator.conftest import GatewayProcess


def test_an_authorized_amount_is_captured_and_refunded(gateway: "GatewayProcess", key: str) -> None:
    authorization = gateway.authorize(reference=key).json()["id"]

    captured = gateway.capture(authorization)
    refunded = gateway.post(
        "/v1/refunds", key + ":refund", authorization=authorization, amount=250, currency="EUR"
    )

    assert (captured.status, captured.json()) == (200, {"status": "captured"})
    assert (refunded.status, refunded.json()) == (200, {"status": "refunded"})
    assert gateway.entries(key) == [
        {
            "id": authorization,
            "reference": key,
            "status": "captured",
            "authorized": 1250,
            "captured": 1250,
            "refunded": 250,
            "currency": "EUR",
        }
    ]


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("tok_declined", "card_declined"),
        ("tok_insufficient_funds", "insufficient_funds"),
        ("tok_never_issued", "unknown_token"),
    ],
)
def test_a_declined_card_leaves_nothing_in_the_books(
    gateway: "GatewayProcess", key: str, token: str, reason: str
) -> None:
    response = gateway.authorize(token, reference=key)

    assert (response.status, response.json()) == (402, {"status": "declined", "reason": reason})
    assert gateway.entries(key) == []


def test_a_capture_is_refused_by_the_card(gateway: "GatewayProcess") -> None:
    response = gateway.capture(gateway.authorized("tok_capture_refused"))

    assert (response.status, response.json()) == (402, {"status": "refused", "reason": "card_refused"})


def test_an_authorization_is_captured_once_only(gateway: "GatewayProcess") -> None:
    authorization = gateway.authorized()
    gateway.capture(authorization)

    assert gateway.capture(authorization).json() == {"status": "refused", "reason": "already_captured"}


@pytest.mark.parametrize("amount", [1249, 1251])
def test_another_amount_than_the_authorized_is_not_captured(gateway: "GatewayProcess", amount: int) -> None:
    response = gateway.capture(gateway.authorized(amount=1250), amount=amount)

    assert response.json() == {"status": "refused", "reason": "wrong_amount"}


def test_another_currency_is_not_captured(gateway: "GatewayProcess", key: str) -> None:
    response = gateway.post(
        "/v1/captures", key, authorization=gateway.authorized(), amount=1250, currency="USD"
    )

    assert response.json() == {"status": "refused", "reason": "wrong_currency"}


def test_what_is_voided_cannot_be_captured(gateway: "GatewayProcess", key: str) -> None:
    authorization = gateway.authorized(key=key)

    voided = gateway.post("/v1/voids", key + ":void", authorization_key=key)
    again = gateway.post("/v1/voids", key + ":another", authorization_key=key)

    assert (voided.status, voided.json()) == (200, {"status": "voided"})
    assert again.json() == {"status": "voided"}
    assert gateway.capture(authorization).json() == {"status": "refused", "reason": "voided"}


def test_a_void_that_overtakes_its_authorization_closes_the_key(gateway: "GatewayProcess", key: str) -> None:
    voided = gateway.post("/v1/voids", key + ":void", authorization_key=key)
    late = gateway.authorize(key=key, reference=key)

    assert (voided.status, voided.json()) == (200, {"status": "nothing_to_void"})
    assert (late.status, late.json()) == (402, {"status": "declined", "reason": "cancelled"})
    assert gateway.entries(key) == []


def test_nothing_is_voided_after_a_decline(gateway: "GatewayProcess", key: str) -> None:
    gateway.authorize("tok_declined", key=key)

    response = gateway.post("/v1/voids", key + ":void", authorization_key=key)

    assert response.json() == {"status": "nothing_to_void"}


def test_captured_money_cannot_be_voided(gateway: "GatewayProcess", key: str) -> None:
    gateway.capture(gateway.authorized(key=key))

    response = gateway.post("/v1/voids", key + ":void", authorization_key=key)

    assert (response.status, response.json()["error"]["code"]) == (409, "authorization_captured")


def test_never_more_than_captured_is_refunded(gateway: "GatewayProcess", key: str) -> None:
    authorization = gateway.authorize(reference=key).json()["id"]
    refund = {"authorization": authorization, "currency": "EUR"}
    too_early = gateway.post("/v1/refunds", key + ":1", amount=1, **refund)
    gateway.capture(authorization)

    part = gateway.post("/v1/refunds", key + ":2", amount=1000, **refund)
    too_much = gateway.post("/v1/refunds", key + ":3", amount=251, **refund)

    assert too_early.json() == {"status": "refused", "reason": "exceeds_captured"}
    assert part.json() == {"status": "refunded"}
    assert too_much.json() == {"status": "refused", "reason": "exceeds_captured"}
    assert gateway.entries(key)[0]["refunded"] == 1000


def test_an_unknown_authorization_is_named(gateway: "GatewayProcess") -> None:
    response = gateway.capture("auth_of_nobody")

    assert response.status == 404
    assert response.json()["error"]["field"] == "authorization"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", 0),
        ("amount", -1),
        ("amount", 12.5),
        ("amount", True),
        ("amount", "1250"),
        ("amount", 10**30),
        ("amount", None),
        ("currency", "eur"),
        ("currency", "EURO"),
        ("token", ""),
        ("token", 7),
        ("reference", "r" * 256),
        ("reference", "\ud800"),
    ],
)
def test_a_wrong_field_is_named_and_can_be_corrected_under_the_same_key(
    gateway: "GatewayProcess", key: str, field: str, value: object
) -> None:
    body: dict[str, object] = {"token": "tok_visa", "amount": 1250, "currency": "EUR", "reference": key}

    refused = gateway.post("/v1/authorizations", key, **{**body, field: value})
    corrected = gateway.post("/v1/authorizations", key, **body)

    assert (refused.status, refused.json()["error"]["field"]) == (400, field)
    assert corrected.status == 200


def test_the_books_are_read_page_by_page_without_gap_or_repetition(
    gateway: "GatewayProcess", key: str
) -> None:
    made = [gateway.authorize(reference=key).json()["id"] for _ in range(5)]

    seen: list[str] = []
    after = ""
    while after is not None:
        page = gateway.get(f"/v1/books?limit=2&after={after}").json()
        assert len(page["entries"]) <= 2
        seen += [entry["id"] for entry in page["entries"] if entry["reference"] == key]
        after = page["next"]

    assert seen == made


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=-1", "after=auth_of_nobody"])
def test_a_wrong_page_is_refused(gateway: "GatewayProcess", query: str) -> None:
    assert gateway.get(f"/v1/books?{query}").status == 400
