"""What became of a command: asked where it would have left its answer, and of the gateway only where nobody knows."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import transaction

from contracts.billing import CapturePayment, FindCapture
from messaging import idempotency
from messaging.consumer import consume
from messaging.envelope import new_message_id, utc_now
from messaging.metrics import Outcome
from messaging.models import IdempotencyKey, KeyRetention, OutboxMessage
from messaging.settlement import Rejected
from tests.builders import a_delivery, an_envelope
from tests.integration.gateway_double import Killed, killed
from tests.integration.messaging.asked import BILLING

pytestmark = pytest.mark.usefixtures("committed")
LONG_AGO = datetime(2015, 1, 1, tzinfo=UTC)
"""Older than anything that another test writes."""


def test_what_was_handled_is_said_again_under_its_own_id(step, gateway):
    step.authorize()
    step.ask()

    assert step.said() == ["payment_authorized", "payment_authorized"]
    ids = OutboxMessage.objects.using(BILLING).filter(headers__saga_id=str(step.saga_id))
    assert len({row.message_id for row in ids}) == 1
    assert len(gateway.calls) == 1
    assert len(step.events()) == 1


def test_where_nothing_has_arrived_that_is_said_and_the_command_still_has_its_effect(step, gateway):
    step.ask()
    assert step.said() == ["authorization_not_found"]
    assert gateway.calls == []

    step.authorize()

    assert step.said() == ["authorization_not_found", "payment_authorized"]
    assert step.state == "authorized"


def test_what_the_gateway_did_and_nobody_stored_is_found_and_stored(step, gateway):
    step.die_in_the_call(gateway)
    assert step.state is None

    step.ask()

    assert step.said() == ["payment_authorized"]
    assert step.state == "authorized"
    assert (gateway.effects, len(gateway.calls)) == (1, 1)
    assert step.authorize() is Outcome.DUPLICATE, "the command itself is handled by that"
    assert step.said() == ["payment_authorized", "payment_authorized"]
    assert len(step.events()) == 1


def test_where_the_gateway_knows_nothing_the_call_is_left_to_the_command(step, gateway):
    step.die_in_the_call(gateway)
    gateway.held.clear()

    step.ask()
    assert step.said() == ["authorization_not_found"]
    assert step.authorize() is Outcome.HANDLED, "at once, without waiting for a lease"

    assert step.said()[1:] == ["payment_authorized"]


def test_a_call_that_is_being_made_is_waited_for(step, gateway):
    gateway.before_answer.append(killed)
    with pytest.raises(Killed):
        step.authorize()

    assert step.ask() is Outcome.PUT_BACK
    assert step.said() == ["find_authorization"]


def test_a_question_is_answered_once_and_the_same_again(step, gateway):
    step.ask()
    step.authorize()

    assert step.ask(number=1) is Outcome.DUPLICATE

    assert step.said() == ["authorization_not_found", "payment_authorized", "authorization_not_found"]


def test_a_duplicate_of_a_question_about_what_was_handled_is_answered_too(step, gateway):
    step.authorize()
    step.ask()
    step.void()

    step.ask(number=1)

    assert step.said() == [*["payment_authorized"] * 2, "payment_voided", "payment_authorized"]


def test_a_question_about_no_command_is_a_dead_letter():
    question = FindCapture(order_id=uuid4())
    with pytest.raises(Rejected, match="about no command of a saga"):
        consume("billing", a_delivery(question, an_envelope(question, key="made up", occurred_at=utc_now())))


def test_a_refusal_that_nobody_stored_is_found(step, gateway):
    gateway.before_answer.append(killed)
    with pytest.raises(Killed):
        step.authorize(card="tok_declined")
    step.end_lease()

    step.ask()

    assert (step.said(), step.state) == (["payment_declined"], "declined")
    assert step.kept.reply is not None


def test_a_command_that_was_undone_before_it_came_is_answered_as_the_command_would_be(step, gateway):
    step.void()
    step.ask()

    assert step.said() == ["payment_voided", "payment_voided"]
    assert (gateway.asked, gateway.effects, step.state) == ([], 0, "voided")


def test_while_it_is_being_undone_nothing_has_happened(step, gateway):
    gateway.before_answer.append(step.ask)

    step.void()

    assert step.said() == ["authorization_not_found", "payment_voided"]


def test_what_was_done_and_then_undone_is_answered_as_it_was(step, gateway):
    """The saga that asks has not heard of it. It has heard of the undoing: that is its own next word."""
    step.authorize()
    step.void()
    step.ask()

    assert step.said() == ["payment_authorized", "payment_voided", "payment_authorized"]
    assert step.state == "voided"


def test_a_fork_that_asks_gets_an_answer_of_its_own(step, gateway):
    step.authorize()
    fork = uuid4()

    step.ask(saga_id=fork)

    (answer,) = OutboxMessage.objects.using(BILLING).filter(headers__saga_id=str(fork))
    assert (answer.type, answer.routing_key) == ("billing.payment_authorized.v1", "sagas")
    assert answer.message_id not in [
        row.message_id
        for row in OutboxMessage.objects.using(BILLING).filter(headers__saga_id=str(step.saga_id))
    ]


def test_a_replayed_question_closes_its_letter(step, gateway):
    """Answered from the key, by the gateway, and again."""
    step.ask(replay_id=new_message_id())
    step.die_in_the_call(gateway)
    step.ask(replay_id=new_message_id())
    step.ask(number=2, replay_id=new_message_id())

    assert step.said() == ["authorization_not_found", *["payment_authorized"] * 2]
    reports = OutboxMessage.objects.using(BILLING).filter(
        headers__correlation_id=str(step.order_id), type="operations.replay_succeeded.v1"
    )
    assert len(reports) == 3


def test_a_question_too_old_to_be_told_from_an_answered_one_is_a_dead_letter(step):
    with transaction.atomic(using=BILLING):
        KeyRetention.objects.using(BILLING).update_or_create(
            service="billing", defaults={"keys_kept_since": LONG_AGO, "raised_at": utc_now()}
        )

    with pytest.raises(Rejected, match="older than the keys that billing keeps"):
        step.ask(occurred_at=LONG_AGO - timedelta(days=1))

    assert step.said() == []


def test_a_capture_is_found_too(step, gateway):
    step.authorize()
    key = idempotency.saga_key(saga_id=step.saga_id, step="capture", step_try=1, is_compensation=False)
    command = CapturePayment(order_id=step.order_id)
    gateway.before_answer.append(killed)
    with pytest.raises(Killed):
        consume("billing", a_delivery(command, step.envelope(command, key)))
    IdempotencyKey.objects.using(BILLING).filter(key=key).update(lease_until=utc_now())
    question = FindCapture(order_id=step.order_id)

    consume("billing", a_delivery(question, step.envelope(question, key.replace("action", "question:1"))))

    assert step.state == "captured"
    assert step.said()[-1] == "payment_captured"
