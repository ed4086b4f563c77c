"""What a saga does when one of its commands is a dead letter: nobody knows whether it had its effect."""

from uuid import uuid4

import pytest

from contracts.billing import CapturePayment, VoidPayment
from contracts.inventory import ReleaseStock, ReserveStock, StockReserved
from contracts.orders import CancelOrder, OrderPlaced
from contracts.shipping import BookShipment, CancelShipment
from sagas.checkout import CHECKOUT_1 as CHECKOUT
from sagas.definition import Exhausted, Pivot, Saga, Step
from sagas.errors import InvalidDefinition
from sagas.incoming import RetryStep

HELD_STEPS = ("authorize", "ship", "capture", "confirm")
FROM_PIVOT_ON = ("capture", "confirm")
UNDO = {"authorize": VoidPayment, "ship": CancelShipment}
LETTER, LATER_LETTER = uuid4(), uuid4()


@pytest.mark.parametrize("step", HELD_STEPS)
def test_a_step_is_held_for_a_person_and_nothing_is_sent_until_somebody_decides(story, step):
    story.go_on_until(step)

    assert story.hear_of_dead_letter(step, LETTER) == []

    held = story.step(step)
    assert (held.status, held.letter_id, held.problem) == (
        "held",
        LETTER,
        "ValueError: the handler has a bad day",
    )
    assert story.saga.status == "running"
    assert story.saga.next_deadline() is None
    assert story.look_at_the_clock() == []


@pytest.mark.parametrize("step", HELD_STEPS)
def test_the_reply_to_a_replayed_letter_lets_the_saga_go_on(story, step):
    story.go_on_until(step)
    story.hear_of_dead_letter(step, LETTER)

    sent = story.hear(step, story.good_replies()[step])

    assert (story.step(step).status, story.step(step).failure) == ("done", "")
    assert len(sent) == (0 if step == "confirm" else 1)
    assert story.saga.status == ("completed" if step == "confirm" else "running")


@pytest.mark.parametrize(("step", "refusal"), [("authorize", "declined"), ("capture", "capture_refused")])
def test_a_refusal_of_a_replayed_letter_turns_the_saga_round(story, step, refusal):
    story.go_on_until(step)
    story.hear_of_dead_letter(step, LETTER)

    story.hear(step, getattr(story.replies, refusal))
    story.undo_everything()

    assert story.step(step).status == "refused"
    assert (story.saga.status, story.saga.reason) == (
        "cancelled",
        story.replies.__dict__[refusal].reason,
    )


def test_a_step_that_is_not_worth_a_persons_time_is_compensated_at_once(story):
    story.start()

    assert story.hear_of_dead_letter("reserve", LETTER) == [ReleaseStock]
    assert story.step("reserve").letter_id == LETTER
    story.undo_everything()

    assert (story.saga.status, story.saga.reason) == ("cancelled", "step_failed")
    assert story.sent[-1].command.reason == "step_failed"


@pytest.mark.parametrize("step", UNDO)
def test_a_discarded_letter_before_the_pivot_counts_as_failed_with_unknown_outcome(story, step):
    story.go_on_until(step)
    story.hear_of_dead_letter(step, LETTER)

    assert story.hear_of_discard(step, LETTER) == [UNDO[step]]
    assert story.hear(step, story.good_replies()[step]) == [], "too late: it is being undone"
    story.undo_everything()

    assert (story.saga.status, story.saga.reason) == ("cancelled", "step_failed")
    assert story.step(step).status == "undone"


@pytest.mark.parametrize("step", FROM_PIVOT_ON)
def test_from_the_pivot_on_a_discarded_letter_stays_a_persons_to_mend_and_undoes_nothing(story, step):
    story.go_on_until(step)
    story.hear_of_dead_letter(step, LETTER)

    assert story.hear_of_discard(step, LETTER) == []

    held = story.step(step)
    assert (held.status, held.letter_id, held.is_letter_discarded) == ("held", LETTER, True)
    assert (story.saga.status, story.saga.next_deadline()) == ("running", None)
    assert story.compensations() == []


@pytest.mark.parametrize("step", ["ship", "capture"])
def test_a_discard_that_overtakes_the_news_of_its_letter_has_the_same_outcome(story, step):
    story.go_on_until(step)

    story.hear_of_discard(step, LETTER)
    story.hear_of_dead_letter(step, LETTER)

    if step == "capture":
        assert (story.step(step).status, story.step(step).is_letter_discarded) == ("held", True)
        assert story.step(step).problem != ""
    else:
        assert story.step(step).status == "undoing"
        assert story.saga.reason == "step_failed"


def test_discarding_a_letter_that_another_has_followed_changes_nothing(story):
    """The first was replayed, and became a dead letter again."""
    story.go_on_until("ship")
    story.hear_of_dead_letter("ship", LETTER)
    story.hear_of_dead_letter("ship", LATER_LETTER)

    assert story.hear_of_discard("ship", LETTER) == []
    assert story.step("ship").status == "held"
    assert story.hear_of_discard("ship", LATER_LETTER) == [CancelShipment]


def test_a_discard_that_overtakes_the_news_of_a_second_letter_counts_once_that_comes(story):
    story.go_on_until("ship")
    story.hear_of_dead_letter("ship", LETTER)

    assert story.hear_of_discard("ship", LATER_LETTER) == []
    assert story.step("ship").status == "held"
    assert story.hear_of_dead_letter("ship", LATER_LETTER) == [CancelShipment]


def test_a_letter_after_a_discarded_one_is_open_again(story):
    story.go_on_until("capture")
    story.hear_of_discard("capture", LETTER)

    story.hear_of_dead_letter("capture", LATER_LETTER)

    assert story.step("capture").letter_id == LATER_LETTER
    assert not story.step("capture").is_letter_discarded


@pytest.mark.parametrize("step", ["ship", "capture"])
def test_discarding_a_letter_whose_command_was_sent_again_since_gives_nothing_up(story, step):
    story.go_on_until(step)
    story.hear_of_dead_letter(step, LETTER)
    story.act(RetryStep(step))

    assert story.hear_of_discard(step, LETTER) == []

    assert story.step(step).status == "sent"
    assert len(story.hear(step, story.good_replies()[step])) == 1


def test_discarding_the_letter_of_a_compensation_that_was_sent_again_since_leaves_it_under_way(story):
    story.go_on_until("authorize")
    story.hear("authorize", story.replies.declined)
    story.hear_of_dead_letter("reserve", LETTER, is_compensation=True)
    story.act(RetryStep("reserve"))

    assert story.hear_of_discard("reserve", LETTER, is_compensation=True) == []
    assert story.step("reserve").status == "undoing"


def test_a_repetition_that_was_sent_before_the_dead_letter_may_still_be_answered(story):
    """The pivot is repeated under the same key, so whichever of the two is handled, the reply is the same."""
    story.go_on_until("capture")
    assert story.let_deadline_pass() == [CapturePayment]

    assert story.hear_of_dead_letter("capture", LETTER) == []
    story.now = story.now.replace(year=story.now.year + 1)
    assert story.look_at_the_clock() == [], "no more repetitions while it is held"
    story.hear("capture", story.replies.captured)

    assert story.step("capture").status == "done"


def test_a_stuck_compensation_holds_up_no_other_but_the_end(story):
    story.go_on_until("capture")
    story.hear("capture", story.replies.capture_refused)

    assert story.hear_of_dead_letter("ship", LETTER, is_compensation=True) == [VoidPayment]
    assert story.hear("authorize", story.replies.voided) == [ReleaseStock]
    assert story.hear("reserve", story.replies.released) == [CancelOrder]
    assert story.hear("place", story.replies.cancelled) == []

    assert story.step("ship").status == "stuck"
    assert story.saga.status == "compensating"
    assert story.saga.next_deadline() is None, "nothing is repeated"

    story.hear("ship", story.replies.shipment_cancelled)
    assert story.saga.status == "cancelled"


def test_discarding_the_letter_of_a_compensation_leaves_it_stuck(story):
    story.go_on_until("authorize")
    story.hear("authorize", story.replies.declined)
    story.hear_of_dead_letter("reserve", LETTER, is_compensation=True)

    assert story.hear_of_discard("reserve", LETTER, is_compensation=True) == []
    story.hear("place", story.replies.cancelled)

    assert (story.step("reserve").status, story.step("reserve").is_letter_discarded) == ("stuck", True)
    assert story.saga.status == "compensating"


def test_a_discard_that_overtakes_the_news_of_a_compensations_letter_does_not_stop_the_others(story):
    story.go_on_until("authorize")
    story.hear("authorize", story.replies.declined)

    assert story.hear_of_discard("reserve", LETTER, is_compensation=True) == [CancelOrder]
    assert story.hear_of_dead_letter("reserve", LETTER, is_compensation=True) == []
    assert (story.step("reserve").status, story.step("reserve").is_letter_discarded) == ("stuck", True)


@pytest.mark.parametrize("is_compensation", [False, True])
def test_a_letter_noted_twice_counts_once(story, is_compensation):
    story.go_on_until("ship")
    if is_compensation:
        story.hear("ship", story.replies.undeliverable)
    step = "authorize" if is_compensation else "ship"
    story.hear_of_dead_letter(step, LETTER, is_compensation=is_compensation)
    before = story.saga

    assert story.hear_of_dead_letter(step, LETTER, is_compensation=is_compensation) == []
    assert story.saga == before


def test_a_letter_of_a_command_that_is_awaited_no_more_changes_nothing(story):
    story.go_on_until("ship")

    def note_everything() -> None:
        before = story.saga
        for step in ("place", "reserve", "nonsense", "capture"):
            for is_compensation in (False, True):
                assert story.hear_of_dead_letter(step, LETTER, is_compensation=is_compensation) == []
                assert story.hear_of_discard(step, LETTER, is_compensation=is_compensation) == []
        assert story.hear_of_dead_letter("ship", LETTER, step_try=2) == []
        assert story.hear_of_dead_letter("ship", LETTER, is_compensation=True) == []
        assert story.saga == before

    note_everything()
    story.let_deadline_pass()
    before = story.saga
    assert story.hear_of_dead_letter("ship", LETTER) == [], "overdue and being undone: its action is history"
    assert story.hear_of_discard("ship", LETTER) == []
    assert story.saga == before


@pytest.mark.parametrize("end", ["completed", "cancelled"])
def test_no_letter_moves_a_saga_that_has_ended(story, end):
    if end == "completed":
        story.go_on_until("confirm")
        story.hear("confirm", story.replies.confirmed)
    else:
        story.start()
        story.hear("reserve", story.replies.unavailable)
        story.undo_everything()
    assert story.saga.status == end
    final = story.saga

    for step in CHECKOUT.steps:
        for is_compensation in (False, True):
            assert story.hear_of_dead_letter(step.name, LETTER, is_compensation=is_compensation) == []
            assert story.hear_of_discard(step.name, LETTER, is_compensation=is_compensation) == []
    assert story.saga == final


def test_a_definition_cannot_compensate_an_exhausted_step_from_the_pivot_on():
    with pytest.raises(InvalidDefinition, match=r"'ship' is to be compensated"):
        Saga(
            "wrong",
            version=1,
            starts=OrderPlaced,
            unique_by="order_id",
            steps=(
                Pivot("reserve", ReserveStock, done=StockReserved),
                Step("ship", BookShipment, done=StockReserved, exhausted=Exhausted.COMPENSATE),
            ),
        )
