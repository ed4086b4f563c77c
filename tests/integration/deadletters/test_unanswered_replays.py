"""Replays that nobody answers are sent again, under the same replay id, until somebody does."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from deadletters import services, unanswered
from deadletters.models import DeadLetter, Replay
from messaging.envelope import utc_now
from messaging.models import OutboxMessage
from tests.at_once import at_once
from tests.integration.deadletters.causes import Cause, succeed
from tests.integration.deadletters.edited import a_billing_letter, edited

pytestmark = pytest.mark.usefixtures("committed")
LONG = unanswered.PATIENCE + timedelta(minutes=1)


def send_again(*, at: datetime) -> list[UUID]:
    """The letters of all the runs that it takes: those of other tests are among them."""
    found = unanswered.send_again(at=at)
    return found + send_again(at=at) if len(found) == unanswered.MOST else found


def a_lost_replay() -> tuple[DeadLetter, OutboxMessage]:
    """A letter whose replay was lost on its way, and what had been sent."""
    (letter,) = Cause().letters(1)
    services.replay([letter], by="ada", reason="mended", at=utc_now())
    row = in_the_outbox(letter)[0]
    row.delete()
    return letter, row


def in_the_outbox(letter: DeadLetter) -> list[OutboxMessage]:
    replay = Replay.objects.get(letter=letter)
    return list(OutboxMessage.objects.using("default").filter(headers__replay_id=str(replay.id)))


def test_a_replay_that_was_lost_is_sent_again_as_it_was_and_closes_its_letter():
    letter, lost = a_lost_replay()

    assert letter.id in send_again(at=utc_now() + LONG)

    (again,) = in_the_outbox(letter)
    ignoring = {"traceparent"}
    assert {name: value for name, value in again.headers.items() if name not in ignoring} == {
        name: value for name, value in lost.headers.items() if name not in ignoring
    }
    assert (again.body, again.routing_key, again.message_id) == (lost.body, lost.routing_key, lost.message_id)
    succeed(letter)
    assert DeadLetter.objects.get(id=letter.id).state == "resolved"


def test_a_replay_is_given_its_time_and_sent_again_once_in_it():
    letter, _ = a_lost_replay()
    now = utc_now()

    assert letter.id not in send_again(at=now + unanswered.PATIENCE - timedelta(minutes=1))
    assert letter.id in send_again(at=now + LONG)
    assert letter.id not in send_again(at=now + LONG + timedelta(minutes=1))
    assert letter.id in send_again(at=now + 2 * LONG)


def test_what_was_answered_is_not_sent_again():
    letter, _ = a_lost_replay()
    succeed(letter)

    assert letter.id not in send_again(at=utc_now() + LONG)
    assert in_the_outbox(letter) == []


def test_two_runs_at_once_send_it_once():
    letter, _ = a_lost_replay()
    at = utc_now() + LONG

    found = at_once(*[lambda: send_again(at=at)] * 2)

    assert sum(letter.id in ids for ids in found) == 1
    assert len(in_the_outbox(letter)) == 1


@pytest.mark.usefixtures("editing")
def test_of_an_edited_letter_the_edited_message_is_sent_again():
    letter = a_billing_letter()
    made = edited(letter)
    in_the_outbox(letter)[0].delete()

    assert letter.id in send_again(at=utc_now() + LONG)

    (again,) = in_the_outbox(letter)
    assert (again.message_id, again.body) == (made.message_id, made.after)
