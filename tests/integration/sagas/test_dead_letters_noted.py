"""The news of dead letters in the database: the step, its deadline, and the report of a replay."""

from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction

from contracts.sagas import NoteDeadLetter, NoteDiscardedLetter
from messaging import topology
from messaging.models import OutboxMessage
from sagas.batch import Incoming, handle_batch
from sagas.errors import UnknownSaga
from sagas.models import MessageRecord, StepRecord
from tests.builders import an_envelope
from tests.integration.sagas.checkout import Checkout

pytestmark = pytest.mark.usefixtures("committed")


def dead_letter(checkout: Checkout, step: str, *, is_compensation: bool = False) -> NoteDeadLetter:
    return NoteDeadLetter(
        saga_id=checkout.id,
        step=step,
        step_try=1,
        is_compensation=is_compensation,
        letter_id=uuid4(),
        problem="ValueError: the handler has a bad day",
    )


def discarded(letter: NoteDeadLetter) -> NoteDiscardedLetter:
    return NoteDiscardedLetter(
        saga_id=letter.saga_id,
        step=letter.step,
        step_try=letter.step_try,
        is_compensation=letter.is_compensation,
        letter_id=letter.letter_id,
    )


def incoming(message: NoteDeadLetter | NoteDiscardedLetter) -> Incoming:
    return Incoming(an_envelope(message), message)


def reports_of(replay_id: object) -> list[OutboxMessage]:
    rows = OutboxMessage.objects.using("default").filter(type="operations.replay_succeeded.v1")
    return list(rows.filter(body__replay_id=str(replay_id)))


def test_a_held_step_has_its_letter_and_no_deadline_any_more(checkout):
    handle_batch([checkout.start(), checkout.reply("reserve", checkout.replies.reserved)])
    assert checkout.deadline is not None
    letter = dead_letter(checkout, "authorize")

    handle_batch([incoming(letter)])

    step = checkout.step("authorize")
    assert (step.status, step.letter_id, step.problem) == ("held", letter.letter_id, letter.problem)
    assert (checkout.status, checkout.deadline) == ("running", None)
    note = MessageRecord.objects.get(saga_id=checkout.id, type=NoteDeadLetter.wire_type)
    assert (note.direction, note.step, note.body["problem"]) == ("received", "authorize", letter.problem)


def test_a_reply_to_the_replayed_letter_gives_the_saga_a_deadline_again(checkout):
    handle_batch([checkout.start(), checkout.reply("reserve", checkout.replies.reserved)])
    handle_batch([incoming(dead_letter(checkout, "authorize"))])

    handle_batch([checkout.reply("authorize", checkout.replies.authorized)])

    assert checkout.sent()[-1] == "book_shipment"
    assert checkout.deadline.available_at == checkout.step("ship").deadline_at


def test_a_discarded_letter_turns_the_saga_round(checkout):
    handle_batch([checkout.start(), checkout.reply("reserve", checkout.replies.reserved)])
    letter = dead_letter(checkout, "authorize")

    handle_batch([incoming(letter), incoming(discarded(letter))])

    assert checkout.status == "compensating"
    assert checkout.sent()[-1] == "void_payment"
    step = checkout.step("authorize")
    assert (step.status, step.letter_id, step.discarded_letter_id) == (
        "undoing",
        letter.letter_id,
        letter.letter_id,
    )


def test_a_stuck_compensation_has_no_deadline(checkout):
    handle_batch([checkout.start(), incoming(dead_letter(checkout, "reserve"))])
    assert checkout.step("reserve").status == "undoing", "this step is compensated when it is exhausted"

    handle_batch([incoming(dead_letter(checkout, "reserve", is_compensation=True))])
    handle_batch([checkout.reply("place", checkout.replies.cancelled)])

    assert checkout.step("reserve").status == "stuck"
    assert (checkout.status, checkout.deadline) == ("compensating", None)


def test_the_news_of_a_saga_that_is_not_there_is_not_dropped(checkout):
    with pytest.raises(UnknownSaga, match=str(checkout.id)):
        handle_batch([incoming(dead_letter(checkout, "authorize"))])


@pytest.mark.parametrize("status", ["held", "stuck"])
def test_the_database_refuses_a_step_for_a_person_with_a_deadline(checkout, status):
    handle_batch([checkout.start()])
    step = StepRecord.objects.filter(saga_id=checkout.id, name="reserve")

    with pytest.raises(IntegrityError, match="steps_for_a_person_have_no_deadline"), transaction.atomic():
        step.update(status=status)
    assert step.update(status=status, deadline_at=None) == 1


def test_a_replay_is_reported_when_it_is_handled_and_when_it_had_been(checkout, monkeypatch):
    monkeypatch.setattr(topology, "has_subscriber", lambda wire_type: True)
    start = checkout.start()
    first, second = uuid4(), uuid4()
    envelope = an_envelope(checkout.placed, message_id=start.envelope.message_id, replay_id=first)
    again = an_envelope(checkout.placed, message_id=start.envelope.message_id, replay_id=second)

    handle_batch([Incoming(envelope, checkout.placed)])
    handle_batch([Incoming(again, checkout.placed)])

    assert checkout.sent() == ["reserve_stock"]
    for replay_id in (first, second):
        (report,) = reports_of(replay_id)
        assert report.body["message_id"] == str(start.envelope.message_id)
        assert (report.service, report.exchange) == ("sagas", topology.EVENTS)
        assert report.headers["causation_id"] == str(start.envelope.message_id)
        assert report.headers["correlation_id"] == str(checkout.order_id)


def test_a_replay_that_fails_is_not_reported(checkout, monkeypatch):
    monkeypatch.setattr(topology, "has_subscriber", lambda wire_type: True)
    replay_id = uuid4()
    envelope = an_envelope(
        checkout.replies.reserved, saga_id=checkout.id, step="reserve", step_try=1, replay_id=replay_id
    )

    with pytest.raises(UnknownSaga):
        handle_batch([Incoming(envelope, checkout.replies.reserved)])

    assert reports_of(replay_id) == []


def test_a_reply_that_overtakes_the_start_in_one_batch_is_not_lost_nor_the_start(checkout):
    handle_batch([checkout.reply("reserve", checkout.replies.reserved), checkout.start()])

    assert checkout.sent() == ["reserve_stock", "authorize_payment"]
