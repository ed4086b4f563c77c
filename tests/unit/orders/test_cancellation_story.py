"""A confirmed order that its customer cancels: its moves, and what its page says about each of them."""

from uuid import UUID, uuid4

import pytest

from contracts import reasons
from contracts.message import Message
from contracts.orders import CancellationRequested
from orders.aggregate import OrderState, evolve
from orders.models import Order
from orders.presentation import facts_of, progress_of
from tests.builders import EUR_25, NOON, Replies, order_placed
from tests.unit.orders.test_order_story import an_order, states_of, steps

CHECKOUT = {"reserve": "done", "authorize": "done", "ship": "done", "capture": "done"}
ID = UUID("0f0e0d0c-0b0a-4908-8706-050403020100")


def requested() -> CancellationRequested:
    return CancellationRequested(request_id=uuid4(), order_id=ID, total=EUR_25, requested_at=NOON)


def after(*events: Message) -> OrderState:
    state = None
    for event in (order_placed(ID), *events):
        state = evolve(state, event)
    assert state is not None
    return state


REPLIES = Replies(ID)


@pytest.mark.parametrize(
    ("events", "status", "reason"),
    [
        ((REPLIES.confirmed, requested()), "cancelling", ""),
        ((REPLIES.confirmed, requested(), REPLIES.refunded), "refunded", ""),
        ((REPLIES.confirmed, requested(), REPLIES.cancellation_refused), "confirmed", "shipment_left"),
        (
            (REPLIES.confirmed, requested(), REPLIES.cancellation_refused, requested(), REPLIES.refunded),
            "refunded",
            "",
        ),
    ],
    ids=["asked", "given in to", "refused", "asked again"],
)
def test_each_move_of_a_cancellation(events, status, reason):
    state = after(*events)

    assert (state.status, state.reason, state.version) == (status, reason, len(events) + 1)


@pytest.mark.parametrize(
    ("events", "next_event"),
    [
        ((), requested()),
        ((REPLIES.cancelled,), requested()),
        ((REPLIES.confirmed,), REPLIES.refunded),
        ((REPLIES.confirmed,), REPLIES.cancellation_refused),
        ((REPLIES.confirmed, requested()), requested()),
        ((REPLIES.confirmed, requested()), REPLIES.cancelled),
        ((REPLIES.confirmed, requested(), REPLIES.refunded), REPLIES.cancellation_refused),
        ((REPLIES.confirmed, requested(), REPLIES.refunded), requested()),
    ],
)
def test_no_other_move_follows(events, next_event):
    with pytest.raises(TypeError, match=f"A {type(next_event).__name__} cannot follow here"):
        evolve(after(*events), next_event)


def test_a_confirmed_order_can_be_cancelled_and_shows_no_steps_of_that():
    progress = progress_of(an_order("confirmed"), steps(**CHECKOUT))

    assert progress.can_be_cancelled
    assert not {"recall", "refund", "restock"} & states_of(progress).keys()


@pytest.mark.parametrize("status", ["pending", "cancelled", "cancelling", "refunded"])
def test_no_other_order_can_be_cancelled(status):
    reason = reasons.CARD_DECLINED if status == "cancelled" else ""

    assert not progress_of(an_order(status, reason), []).can_be_cancelled


@pytest.mark.parametrize(
    ("heard", "recall", "refund", "restock"),
    [
        ({}, "current", "waiting", "waiting"),
        ({"recall": "done"}, "done", "current", "current"),
        ({"recall": "done", "restock": "done"}, "done", "current", "done"),
        ({"refund": "done"}, "current", "done", "waiting"),
        ({"recall": "done", "refund": "done", "restock": "done"}, "done", "done", "done"),
    ],
    ids=["asked", "stopped", "goods first", "news out of order", "all but the end"],
)
def test_money_and_goods_go_back_together_once_the_parcel_is_stopped(heard, recall, refund, restock):
    progress = progress_of(an_order("cancelling"), steps(**CHECKOUT, **heard))

    states = states_of(progress)
    assert (states["recall"], states["refund"], states["restock"]) == (recall, refund, restock)
    assert (states["confirmed"], states["refunded"]) == ("done", "waiting")
    assert not progress.is_finished


def test_a_refunded_order_names_the_sum_and_shows_every_step_done_though_news_may_be_late():
    progress = progress_of(an_order("refunded"), steps(**CHECKOUT, recall="done"))

    assert progress.is_finished
    assert set(states_of(progress).values()) == {"done"}
    assert progress.headline == "Your order is cancelled"
    assert progress.about_money.startswith("€25.00 has been given back")


def test_an_order_whose_parcel_has_left_stays_confirmed_and_is_not_asked_about_again():
    progress = progress_of(an_order("confirmed", reasons.SHIPMENT_LEFT), steps(**CHECKOUT, recall="refused"))

    assert progress.is_finished and not progress.can_be_cancelled
    assert progress.headline == "Your order could not be cancelled"
    assert "had left" in progress.story
    assert progress.about_money == "€25.00 has been taken from your card, once."
    states = states_of(progress)
    assert (states["recall"], states["refund"], states["restock"]) == ("refused", "skipped", "skipped")
    assert "refunded" not in states


@pytest.mark.parametrize("reason", [reasons.CANCELLED_BY_OPERATOR, reasons.SAGA_OVERDUE, "of_tomorrow"])
def test_what_we_failed_to_cancel_is_not_said_to_have_left_and_can_be_asked_for_again(reason):
    progress = progress_of(an_order("confirmed", reason), steps(**CHECKOUT))

    assert progress.can_be_cancelled
    assert progress.headline == "Your order was not cancelled"
    assert "left" not in progress.story and reason not in progress.story
    assert progress.advice == "You may ask for it again."
    assert "recall" not in states_of(progress)


def test_programs_are_told_the_end_of_a_cancellation_and_what_was_heard_of_it():
    facts = facts_of(an_order("refunded"), steps(recall="done", refund="done"))

    assert [(fact.name, fact.state) for fact in facts] == [
        ("placed", "done"),
        ("recall", "done"),
        ("refund", "done"),
        ("refunded", "done"),
    ]


def test_every_status_has_words_of_its_own():
    headlines = {status: progress_of(an_order(status), []).headline for status in Order.Status}

    assert len(set(headlines.values())) == len(Order.Status)
