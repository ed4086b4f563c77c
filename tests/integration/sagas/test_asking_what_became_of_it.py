"""The saga and the service together, where the answer to a command is lost, or late, or was never given."""

from datetime import timedelta

import pytest
from django.conf import settings

from billing.models import Payment
from contracts.catalogue import MESSAGE_TYPES
from contracts.sagas import CheckDeadlines
from messaging.consumer import consume
from messaging.delivery import Delivery
from messaging.envelope import Envelope, utc_now
from messaging.models import IdempotencyKey, OutboxMessage
from sagas.batch import Incoming, handle_batch
from sagas.models import StepRecord
from tests.builders import an_envelope
from tests.integration.gateway_double import Killed, killed
from tests.integration.sagas.checkout import Checkout

pytestmark = pytest.mark.usefixtures("committed")


class Payments:
    """A checkout at its payment, and billing; what one says, the test hands to the other, or loses."""

    def __init__(self, checkout: Checkout) -> None:
        self.checkout = checkout
        handle_batch([checkout.start(), checkout.reply("reserve", checkout.replies.reserved)])

    def ordered(self) -> Delivery:
        """The saga's last word to billing, as the broker delivers it."""
        row = (
            OutboxMessage.objects.using(settings.SERVICES["sagas"])
            .filter(headers__saga_id=str(self.checkout.id), type__startswith="billing.")
            .latest("id")
        )
        return Delivery(
            headers=row.headers, payload=row.body, exchange=row.exchange, routing_key=row.routing_key
        )

    def answered(self) -> Incoming:
        """Billing's last word to the saga."""
        row = (
            OutboxMessage.objects.using(settings.SERVICES["billing"])
            .filter(headers__saga_id=str(self.checkout.id), exchange="events")
            .latest("id")
        )
        message = MESSAGE_TYPES[row.type].from_payload(row.body)
        return Incoming(Envelope.from_headers(row.headers), message)

    def let_deadline_pass(self) -> None:
        StepRecord.objects.filter(saga_id=self.checkout.id, name="authorize").update(
            deadline_at=utc_now() - timedelta(seconds=1)
        )
        check = CheckDeadlines(saga_id=self.checkout.id)
        handle_batch([Incoming(an_envelope(check), check)])

    def let_lease_end(self) -> None:
        updated = (
            IdempotencyKey.objects.using(settings.SERVICES["billing"])
            .filter(key=f"{self.checkout.id}:authorize:1:action", state="started")
            .update(lease_until=utc_now() - timedelta(seconds=1))
        )
        assert updated == 1

    @property
    def state(self) -> str:
        return Payment.objects.get(order_id=self.checkout.order_id).state


@pytest.fixture
def payments(checkout, gateway) -> Payments:
    return Payments(checkout)


ON_ITS_WAY = ["reserve_stock", "authorize_payment", "find_authorization", "book_shipment"]


def test_an_answer_that_is_lost_is_given_again_to_the_question(payments, checkout, gateway):
    consume("billing", payments.ordered())
    lost = payments.answered()

    payments.let_deadline_pass()
    consume("billing", payments.ordered())
    again = payments.answered()
    handle_batch([again])

    assert checkout.sent() == ON_ITS_WAY
    assert again.envelope.message_id == lost.envelope.message_id
    assert len(gateway.calls) == 1


@pytest.mark.parametrize("first", ["the late answer", "the answer to the question"])
def test_an_answer_that_is_only_late_moves_the_saga_once(payments, checkout, gateway, first):
    """Both are one message, so whichever comes first is handled and the other one known."""
    consume("billing", payments.ordered())
    late = payments.answered()
    payments.let_deadline_pass()
    consume("billing", payments.ordered())
    answer = payments.answered()

    for reply in (late, answer) if first == "the late answer" else (answer, late):
        handle_batch([reply])

    assert checkout.sent() == ON_ITS_WAY
    assert (checkout.status, checkout.step("authorize").status) == ("running", "done")


def test_what_the_gateway_did_unseen_is_found_and_the_order_goes_on(payments, checkout, gateway):
    gateway.before_answer.append(killed)
    with pytest.raises(Killed):
        consume("billing", payments.ordered())
    payments.let_deadline_pass()
    payments.let_lease_end()

    consume("billing", payments.ordered())
    handle_batch([payments.answered()])

    assert checkout.sent() == ON_ITS_WAY
    assert (gateway.effects, len(gateway.calls), payments.state) == (1, 1, "authorized")


def test_a_command_that_never_arrived_is_sent_again_and_both_copies_have_one_effect(
    payments, checkout, gateway
):
    """The first was only late: it comes after all, behind its repetition."""
    first = payments.ordered()
    payments.let_deadline_pass()
    consume("billing", payments.ordered())
    assert type(payments.answered().message).__name__ == "AuthorizationNotFound"
    handle_batch([payments.answered()])
    again = payments.ordered()
    assert again.headers["idempotency_key"] == first.headers["idempotency_key"]

    consume("billing", again)
    consume("billing", first)
    handle_batch([payments.answered()])

    assert checkout.sent() == [*ON_ITS_WAY[:3], "authorize_payment", "book_shipment"]
    assert (gateway.effects, len(gateway.calls), payments.state) == (1, 1, "authorized")
