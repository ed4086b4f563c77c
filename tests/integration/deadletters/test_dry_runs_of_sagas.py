"""A dry run of what the orchestrator could not handle tells what the saga would make of it."""

from uuid import uuid4

import pytest

from contracts.sagas import CheckDeadlines, NoteDeadLetter, NoteDiscardedLetter
from deadletters.rehearsals.dry_runs import dry_run
from messaging.envelope import utc_now
from sagas.batch import handle_batch
from sagas.models import StepRecord
from tests.builders import an_envelope
from tests.integration.deadletters.rehearsed import a_letter, nothing_happens
from tests.integration.sagas.checkout import Checkout

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def checkout() -> Checkout:
    return Checkout()


def rehearsed(monkeypatch, message, envelope=None):
    letter = a_letter("sagas", message, envelope=envelope)
    with nothing_happens(monkeypatch):
        return dry_run(letter.id)


def test_a_start_would_begin_a_saga_and_send_its_first_command(checkout, monkeypatch):
    run = rehearsed(monkeypatch, checkout.placed)

    assert run.would_succeed
    assert run.decided[0] == "a saga checkout would begin"
    assert "step reserve would go from pending to sent" in run.decided
    assert run.verdict.startswith("It would succeed now: a saga checkout would begin, step ")
    command, deadline = run.told
    assert (command.type, command.to) == ("inventory.reserve_stock.v1", "commands inventory.reserve_stock")
    assert deadline.to.startswith("commands sagas.check_deadlines, on ")
    assert {write.table for write in run.writes} == {
        "sagas_sagarecord",
        "sagas_steprecord",
        "sagas_messagerecord",
    }


def test_a_reply_would_move_its_step_and_send_the_next_command(checkout, monkeypatch):
    handle_batch([checkout.start()])
    reply = checkout.replies.reserved

    run = rehearsed(monkeypatch, reply, checkout.envelope("reserve", reply))

    assert run.decided == [
        "step reserve would go from sent to done",
        "step authorize would go from pending to sent",
    ]
    assert "billing.authorize_payment.v1" in {told.type for told in run.told}


def test_a_refusal_would_turn_the_saga_round(checkout, monkeypatch):
    handle_batch([checkout.start()])
    reply = checkout.replies.unavailable

    run = rehearsed(monkeypatch, reply, checkout.envelope("reserve", reply))

    assert run.decided[0] == "the saga would go from running to compensating"
    assert "orders.cancel_order.v1" in {told.type for told in run.told}


def test_a_reply_that_is_not_awaited_would_change_nothing(checkout, monkeypatch):
    handle_batch([checkout.start()])
    reply = checkout.replies.captured

    run = rehearsed(monkeypatch, reply, checkout.envelope("capture", reply))

    assert run.decided == ["the saga would stay as it is, for it does not wait for this"]


def test_a_message_that_was_handled_would_change_nothing_again(checkout, monkeypatch):
    start = checkout.start()
    handle_batch([start])

    run = rehearsed(monkeypatch, checkout.placed, start.envelope)

    assert run.verdict.startswith("Nothing would be done again: it was handled on ")


@pytest.mark.parametrize("note", ["dead", "discarded"])
def test_notes_about_letters_are_rehearsed_too(checkout, monkeypatch, note):
    handle_batch([checkout.start()])
    named = {
        "saga_id": checkout.id,
        "step": "reserve",
        "step_try": 1,
        "is_compensation": False,
        "letter_id": uuid4(),
    }
    message = NoteDeadLetter(**named, problem="broken") if note == "dead" else NoteDiscardedLetter(**named)

    run = rehearsed(monkeypatch, message)

    assert run.would_succeed, run.traceback


def test_a_look_at_deadlines_is_rehearsed_too(checkout, monkeypatch):
    handle_batch([checkout.start()])
    StepRecord.objects.filter(saga_id=checkout.id, name="reserve").update(deadline_at=utc_now())

    run = rehearsed(monkeypatch, CheckDeadlines(saga_id=checkout.id))

    assert "step reserve would go from sent to undoing" in run.decided


def test_a_reply_to_an_unknown_saga_fails_as_it_did(checkout, monkeypatch):
    reply = checkout.replies.reserved

    run = rehearsed(
        monkeypatch, reply, an_envelope(reply, saga_id=uuid4(), step="reserve", occurred_at=utc_now())
    )

    assert run.exception.startswith("UnknownSaga: inventory.stock_reserved.v1 is for saga ")
