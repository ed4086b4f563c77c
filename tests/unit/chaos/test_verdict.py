"""Each promise that a run could find broken is found broken, and named."""

from dataclasses import replace

import pytest

from chaos.mails import Mail
from chaos.verdict import Found, Letter, Order, repeated_mails, violations

CONFIRMED = Order(id="a", status="confirmed", total=500)
CANCELLED = Order(id="b", status="cancelled", total=700)
CHARGED = {"reference": "a", "status": "captured", "captured": 500, "refunded": 0}
VOIDED = {"reference": "b", "status": "voided", "captured": 0, "refunded": 0}
SUMMARY = {"otherwise": [], "expected_confirmed": 1, "expected_cancelled": 1}
WELL = Found(
    wanted=2,
    orders=[CONFIRMED, CANCELLED],
    placing=SUMMARY,
    audit={"violations": []},
    unfinished_sagas=0,
    outbox={"default": 0, "orders": 0},
    queues={"billing": 0},
    held_back=0,
    open_breakers=[],
    letters=[],
    mails=[Mail("1@shop", "a", "confirmed"), Mail("2@shop", "b", "cancelled")],
    books=[CHARGED, VOIDED],
)
LETTER = Letter(queue="billing", type="billing.void.v1", reason="rejected", cause="(order a)", state="open")


def test_a_run_that_went_well_violates_nothing():
    assert violations(WELL) == []


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ({"wanted": 3}, "3 orders were to be placed, and there are 2"),
        ({"orders": [CONFIRMED, replace(CANCELLED, status="pending")]}, "unfinished orders: b"),
        ({"orders": [replace(CONFIRMED, status="cancelling"), CANCELLED]}, "unfinished orders: a"),
        ({"placing": None}, "place_orders gave no summary"),
        ({"placing": {**SUMMARY, "otherwise": ["b"]}}, "ended otherwise than they must: b"),
        ({"placing": {**SUMMARY, "expected_confirmed": 2}}, "2 orders had to be confirmed, and 1 are"),
        ({"audit": {"violations": ["stock of mug"]}}, "audit: stock of mug"),
        ({"unfinished_sagas": 1}, "1 sagas are unfinished"),
        ({"outbox": {"orders": 4}}, "4 messages are left in the outbox of orders"),
        ({"queues": {"billing": 1}}, "1 messages are left in the queue billing"),
        ({"held_back": 2}, "2 events are still held back"),
        ({"open_breakers": ["gateway"]}, "the circuit breaker of gateway is still open"),
        ({"letters": [LETTER]}, "a dead letter of billing is open: billing.void.v1, rejected (order a)"),
        ({"mails": WELL.mails[:1]}, "sent no e-mail: b"),
        ({"mails": [*WELL.mails, Mail("3@shop", "a", "confirmed")]}, "sent different e-mails: a"),
        ({"mails": [Mail("1@shop", "a", "cancelled"), WELL.mails[1]]}, "told something else"),
        ({"books": [CHARGED, CHARGED]}, "charged more than once: a"),
        ({"books": [VOIDED]}, "not what is due: a"),
        ({"books": [CHARGED, {**CHARGED, "reference": "b"}]}, "not what is due: b"),
        ({"books": [CHARGED, {**VOIDED, "status": "authorized"}]}, "still holds money: b"),
        ({"unended": ["rest"]}, "waited in vain for rest"),
    ],
)
def test_what_is_broken_is_named(damage, told):
    assert told in " / ".join(violations(replace(WELL, **damage)))


def test_an_e_mail_that_is_repeated_under_its_message_id_is_counted_and_no_violation():
    found = replace(WELL, mails=[*WELL.mails, WELL.mails[0]])

    assert repeated_mails(found.mails) == 1
    assert violations(found) == []


def test_of_many_orders_some_are_named():
    pending = [Order(id=str(number), status="pending", total=1) for number in range(12)]

    assert "unfinished orders: 0, 1, 2, 3, 4 and 7 more" in violations(replace(WELL, orders=pending))
