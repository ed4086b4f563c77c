"""An order's story in the customer's words, for every way that it can go."""

import uuid
from datetime import UTC, datetime

import pytest

from contracts import reasons
from orders.models import Order, OrderStep
from orders.presentation import facts_of, money, progress_of

AT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
LATER = datetime(2026, 11, 23, 9, 31, tzinfo=UTC)


def an_order(status: str = "pending", reason: str = "") -> Order:
    return Order(
        id=uuid.uuid4(),
        status=status,
        reason=reason,
        total_amount=2500,
        currency="EUR",
        placed_at=AT,
        finished_at=None if status == "pending" else LATER,
    )


def steps(**states: str) -> list[OrderStep]:
    return [OrderStep(name=name, state=state, at=AT) for name, state in states.items()]


def states_of(progress) -> dict[str, str]:
    return {step.name: step.state for step in progress.steps}


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1250, "EUR", "€12.50"),
        (5, "EUR", "€0.05"),
        (125000000, "EUR", "€1,250,000.00"),
        (980, "SEK", "9.80 SEK"),
    ],
)
def test_money_is_written_with_two_decimals(amount, currency, text):
    assert money(amount, currency) == text


def test_a_new_order_waits_for_its_goods_and_nothing_is_charged():
    progress = progress_of(an_order(), [])

    assert states_of(progress) == {
        "placed": "done",
        "reserve": "current",
        "authorize": "waiting",
        "ship": "waiting",
        "capture": "waiting",
        "confirmed": "waiting",
    }
    assert "not been charged" in progress.about_money
    assert not progress.is_finished


def test_an_approved_card_is_held_and_not_charged():
    progress = progress_of(an_order(), steps(reserve="done", authorize="done"))

    assert states_of(progress)["ship"] == "current"
    assert progress.about_money.startswith("€25.00 is held on your card")


def test_after_the_payment_only_the_confirmation_is_missing():
    progress = progress_of(an_order(), steps(reserve="done", authorize="done", ship="done", capture="done"))

    assert states_of(progress)["confirmed"] == "current"
    assert progress.about_money.startswith("€25.00 has been taken")


def test_a_refused_step_says_at_once_that_the_order_is_being_undone():
    progress = progress_of(an_order(), steps(reserve="done", authorize="refused"))

    assert states_of(progress)["cancelled"] == "current"
    assert states_of(progress)["ship"] == "skipped"
    assert "not charged" in progress.about_money


def test_a_confirmed_order_shows_every_step_done_though_news_may_be_late():
    progress = progress_of(an_order("confirmed"), steps(reserve="done", authorize="done"))

    assert set(states_of(progress).values()) == {"done"}
    assert progress.is_finished


def test_a_cancelled_order_shows_nothing_as_still_done():
    progress = progress_of(
        an_order("cancelled", reasons.UNDELIVERABLE), steps(reserve="done", ship="refused")
    )

    assert states_of(progress) == {
        "placed": "done",
        "reserve": "undone",
        "authorize": "skipped",
        "ship": "refused",
        "capture": "skipped",
        "cancelled": "refused",
    }


@pytest.mark.parametrize(
    "reason", [value for name, value in vars(reasons).items() if name.isupper()] + ["a_reason_of_tomorrow"]
)
def test_every_reason_says_what_happened_and_that_nothing_was_charged(reason):
    progress = progress_of(an_order("cancelled", reason), [])

    assert progress.headline and progress.story and progress.advice
    assert "Your card was not charged" in progress.about_money
    assert reason not in progress.headline + progress.story


def test_programs_are_told_only_what_has_been_heard():
    facts = facts_of(an_order("confirmed"), steps(authorize="done", reserve="done"))

    assert [(fact.name, fact.state) for fact in facts] == [
        ("placed", "done"),
        ("reserve", "done"),
        ("authorize", "done"),
        ("confirmed", "done"),
    ]
