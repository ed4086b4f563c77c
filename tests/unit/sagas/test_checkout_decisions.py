"""What the checkout saga does on each message, told by examples."""

import pytest

from contracts.billing import AuthorizePayment, CapturePayment, VoidPayment
from contracts.inventory import ReleaseStock, ReserveStock
from contracts.orders import CancelOrder, ConfirmOrder
from contracts.shipping import BookShipment, CancelShipment
from sagas.checkout import CHECKOUT_1 as CHECKOUT
from sagas.decide import decide
from sagas.incoming import Replied
from sagas.moves import Policy

STEPS_BEFORE_PIVOT = ("reserve", "authorize", "ship")
UNDO = {"place": CancelOrder, "reserve": ReleaseStock, "authorize": VoidPayment, "ship": CancelShipment}
REFUSALS = {
    "reserve": ("unavailable", "out_of_stock", []),
    "authorize": ("declined", "card_declined", [ReleaseStock]),
    "ship": ("undeliverable", "undeliverable", [VoidPayment, ReleaseStock]),
    "capture": ("capture_refused", "capture_refused", [CancelShipment, VoidPayment, ReleaseStock]),
}
"""Step: its refusal, the reason it gives the saga, and what is undone for it before the order itself."""


def test_an_order_that_everybody_accepts_goes_through_the_steps_in_turn(story):
    r = story.replies
    assert story.start() == [ReserveStock]
    assert story.hear("reserve", r.reserved) == [AuthorizePayment]
    assert story.hear("authorize", r.authorized) == [BookShipment]
    assert story.hear("ship", r.booked) == [CapturePayment]
    assert story.hear("capture", r.captured) == [ConfirmOrder]
    assert story.hear("confirm", r.confirmed) == []

    assert story.saga.status == "completed"
    assert story.saga.finished_at == story.now
    assert story.saga.next_deadline() is None
    assert story.compensations() == []


def test_commands_are_built_from_what_was_said(story):
    story.go_on_until("ship")

    reserve, authorize, ship = (sending.command for sending in story.sent)
    assert [(line.sku, line.quantity) for line in reserve.lines] == [("mug", 2)]
    assert (authorize.total, authorize.payment_token) == (story.placed.total, "tok_visa")
    assert ship.ship_to == story.placed.ship_to


@pytest.mark.parametrize("step", REFUSALS)
def test_a_refusal_undoes_what_was_done_before_it_last_first(story, step):
    refusal, reason, undone_before = REFUSALS[step]
    story.go_on_until(step)

    first = story.hear(step, getattr(story.replies, refusal))
    sent = first + story.undo_everything()

    assert sent == [*undone_before, CancelOrder]
    assert story.sent[-1].command.reason == reason
    assert (story.saga.status, story.saga.reason) == ("cancelled", reason)
    assert story.step(step).status == "refused"


@pytest.mark.parametrize("step", REFUSALS)
def test_compensations_wait_for_one_another(story, step):
    story.go_on_until(step)

    sent = story.hear(step, getattr(story.replies, REFUSALS[step][0]))

    assert len(sent) == 1
    assert story.saga.status == "compensating"


@pytest.mark.parametrize("step", STEPS_BEFORE_PIVOT)
def test_an_overdue_step_is_undone_because_nobody_knows_what_happened(story, step):
    story.go_on_until(step)

    assert story.let_deadline_pass() == [UNDO[step]]
    story.undo_everything()

    assert (story.saga.status, story.saga.reason) == ("cancelled", "step_overdue")
    before = STEPS_BEFORE_PIVOT[: STEPS_BEFORE_PIVOT.index(step)]
    assert story.compensations() == [step, *reversed(before), "place"]


@pytest.mark.parametrize("step", STEPS_BEFORE_PIVOT)
def test_a_success_that_comes_too_late_stays_undone(story, step):
    story.go_on_until(step)
    story.let_deadline_pass()

    assert story.hear(step, story.good_replies()[step]) == []
    assert story.step(step).status == "undoing"
    story.undo_everything()

    assert story.saga.status == "cancelled"
    assert story.step(step).status == "undone"


@pytest.mark.parametrize("step", STEPS_BEFORE_PIVOT)
def test_a_refusal_that_comes_late_tells_that_there_is_nothing_to_undo(story, step):
    story.go_on_until(step)
    story.let_deadline_pass()

    story.hear(step, getattr(story.replies, REFUSALS[step][0]))

    assert story.step(step).status == "refused"
    story.undo_everything()
    assert story.saga.status == "cancelled"


@pytest.mark.parametrize("step", ["capture", "confirm"])
def test_from_the_pivot_on_an_overdue_step_is_repeated_until_it_is_answered(story, step):
    story.go_on_until(step)
    (first,) = [sending for sending in story.sent if sending.step == step]

    for _ in range(5):
        assert story.let_deadline_pass() == [type(first.command)]

    assert {sending for sending in story.sent if sending.step == step} == {first}
    assert story.saga.status == "running"
    story.hear(step, story.good_replies()[step])
    assert story.step(step).status == "done"


def test_the_pauses_between_repetitions_grow_up_to_the_longest(story):
    story.go_on_until("capture")
    pauses = []
    for _ in range(5):
        story.let_deadline_pass()
        pauses.append((story.step("capture").deadline_at - story.now).total_seconds())

    assert pauses == [120, 240, 300, 300, 300]


def test_a_pivot_refused_after_repetitions_turns_the_saga_round(story):
    story.go_on_until("capture")
    story.let_deadline_pass()

    story.hear("capture", story.replies.capture_refused)
    story.undo_everything()

    assert story.saga.status == "cancelled"
    assert story.compensations() == ["ship", "authorize", "reserve", "place"]


def test_an_overdue_compensation_is_repeated_and_holds_up_no_other(story):
    story.go_on_until("capture")
    story.hear("capture", story.replies.capture_refused)

    assert story.let_deadline_pass() == [CancelShipment, VoidPayment]
    assert story.hear("authorize", story.replies.voided) == [ReleaseStock]
    assert story.hear("reserve", story.replies.released) == [CancelOrder]
    assert story.hear("place", story.replies.cancelled) == []
    assert story.saga.status == "compensating", "the shipment is still to be cancelled"

    assert story.let_deadline_pass() == [CancelShipment]
    story.hear("ship", story.replies.shipment_cancelled)
    assert story.saga.status == "cancelled"


def test_a_deadline_that_has_not_come_changes_nothing(story):
    story.go_on_until("authorize")
    before = story.saga

    assert story.look_at_the_clock() == []
    assert story.saga == before


@pytest.mark.parametrize("step", ["reserve", "authorize", "ship", "capture", "confirm"])
def test_a_reply_that_comes_twice_counts_once(story, step):
    story.go_on_until(step)
    reply = story.good_replies()[step]
    story.hear(step, reply)
    before = story.saga

    assert story.hear(step, reply) == []
    assert story.saga == before


def test_a_reply_before_its_command_is_not_taken_for_an_answer(story):
    story.start()
    before = story.saga

    assert story.hear("ship", story.replies.booked) == []
    assert story.hear("authorize", story.replies.voided) == []
    assert story.saga == before


def test_a_success_after_a_refusal_is_not_believed(story):
    story.go_on_until("authorize")
    story.hear("authorize", story.replies.declined)

    assert story.hear("authorize", story.replies.authorized) == []
    assert story.step("authorize").status == "refused"


def test_a_reply_to_another_try_or_an_unknown_step_changes_nothing(story):
    story.go_on_until("reserve")
    for replied in (
        Replied("reserve", 2, story.replies.reserved),
        Replied("nonsense", 1, story.replies.reserved),
    ):
        decision = decide(
            CHECKOUT, story.saga, replied, now=story.now, policy=Policy(deadline=60, longest_pause=300)
        )
        assert (decision.saga, decision.sendings) == (story.saga, ())


@pytest.mark.parametrize("end", ["completed", "cancelled"])
def test_the_end_is_final(story, end):
    if end == "completed":
        story.go_on_until("confirm")
        story.hear("confirm", story.replies.confirmed)
    else:
        story.go_on_until("authorize")
        story.hear("authorize", story.replies.declined)
        story.undo_everything()
    assert story.saga.status == end
    final = story.saga

    assert story.start() == []
    assert story.look_at_the_clock() == []
    for replies in (story.good_replies(), story.undone_replies()):
        for step, event in replies.items():
            assert story.hear(step, event) == []
    assert story.saga == final


def test_what_undoes_a_step_is_noted_before_its_command_is_out(story):
    story.start()

    assert story.step("reserve").status == "sent"
    assert story.step("reserve").compensation == ReleaseStock.wire_type
    assert story.step("place").compensation == CancelOrder.wire_type
