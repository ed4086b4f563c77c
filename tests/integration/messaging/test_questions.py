"""What became of a command: asked where it would have left its answer, and of the gateway only where nobody knows."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from billing.models import Payment
from contracts.billing import CapturePayment, FindAuthorization, FindCapture
from eventstore.models import StoredEvent
from messaging import idempotency
from messaging.consumer import consume
from messaging.envelope import utc_now
from messaging.metrics import Outcome
from messaging.models import IdempotencyKey, OutboxMessage
from tests.at_once import at_once
from tests.builders import EUR_25, a_delivery, an_envelope, authorize_payment
from tests.integration.gateway_double import Killed, killed

pytestmark = pytest.mark.usefixtures("committed")


class Step:
    """The authorization of one order, and questions about it."""

    def __init__(self) -> None:
        self.order_id, self.saga_id = uuid4(), uuid4()
        self.numbers = 0
        self.key = idempotency.saga_key(
            saga_id=self.saga_id, step="authorize", step_try=1, is_compensation=False
        )

    def authorize(self, card: str = "tok_visa") -> Outcome:
        command = authorize_payment(self.order_id, card=card)
        return consume("billing", a_delivery(command, self._envelope(command, self.key)))

    def ask(self, *, number: int | None = None) -> Outcome:
        self.numbers = number or self.numbers + 1
        question = FindAuthorization(order_id=self.order_id, total=EUR_25)
        key = idempotency.question_key(
            saga_id=self.saga_id, step="authorize", step_try=1, number=self.numbers
        )
        return consume("billing", a_delivery(question, self._envelope(question, key)))

    def _envelope(self, message, key):
        return an_envelope(
            message, key=key, saga_id=self.saga_id, step="authorize", step_try=1, occurred_at=utc_now()
        )

    def die_in_the_call(self, gateway) -> None:
        """The gateway has done it, and the process dies before that is stored."""
        gateway.before_answer.append(killed)
        with pytest.raises(Killed):
            self.authorize()
        self.end_lease()

    def end_lease(self) -> None:
        IdempotencyKey.objects.using("billing").filter(key=self.key).update(
            lease_until=timezone.now() - timedelta(seconds=1)
        )

    def said(self) -> list[str]:
        rows = OutboxMessage.objects.using("billing").filter(headers__saga_id=str(self.saga_id))
        return [row.type.split(".")[1] for row in rows.order_by("id")]

    def events(self) -> list[str]:
        found = StoredEvent.objects.using("billing").filter(stream=f"payment-{self.order_id}")
        return list(found.order_by("version").values_list("type", flat=True))


@pytest.fixture
def step() -> Step:
    return Step()


def test_what_was_handled_is_said_again_under_its_own_id(step, gateway):
    step.authorize()
    step.ask()

    assert step.said() == ["payment_authorized", "payment_authorized"]
    ids = OutboxMessage.objects.using("billing").filter(headers__saga_id=str(step.saga_id))
    assert len({row.message_id for row in ids}) == 1
    assert len(gateway.calls) == 1
    assert len(step.events()) == 1


def test_where_nothing_has_arrived_that_is_said_and_the_command_still_has_its_effect(step, gateway):
    step.ask()
    assert step.said() == ["authorization_not_found"]
    assert gateway.calls == []

    step.authorize()

    assert step.said() == ["authorization_not_found", "payment_authorized"]
    assert Payment.objects.get(order_id=step.order_id).state == "authorized"


def test_what_the_gateway_did_and_nobody_stored_is_found_and_stored(step, gateway):
    step.die_in_the_call(gateway)
    assert not Payment.objects.filter(order_id=step.order_id).exists()

    step.ask()

    assert step.said() == ["payment_authorized"]
    assert Payment.objects.get(order_id=step.order_id).state == "authorized"
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

    step.ask(number=1)

    assert step.said() == ["authorization_not_found", "payment_authorized", "authorization_not_found"]


def test_a_question_and_the_late_command_at_once_have_one_effect(step, gateway):
    step.die_in_the_call(gateway)

    at_once(step.ask, step.authorize)

    assert gateway.effects == 1
    assert len(step.events()) == 1
    assert "payment_authorized" in step.said()


def test_a_question_about_no_command_is_a_dead_letter():
    from messaging.settlement import Rejected

    question = FindCapture(order_id=uuid4())
    with pytest.raises(Rejected, match="about no command of a saga"):
        consume("billing", a_delivery(question, an_envelope(question, key="made up", occurred_at=utc_now())))


def test_a_capture_is_found_too(step, gateway):
    step.authorize()
    key = idempotency.saga_key(saga_id=step.saga_id, step="capture", step_try=1, is_compensation=False)
    command = CapturePayment(order_id=step.order_id)
    gateway.before_answer.append(killed)
    with pytest.raises(Killed):
        consume("billing", a_delivery(command, step._envelope(command, key)))
    IdempotencyKey.objects.using("billing").filter(key=key).update(lease_until=timezone.now())
    question = FindCapture(order_id=step.order_id)

    consume("billing", a_delivery(question, step._envelope(question, key.replace("action", "question:1"))))

    assert Payment.objects.get(order_id=step.order_id).state == "captured"
    assert step.said()[-1] == "payment_captured"
