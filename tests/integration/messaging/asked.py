"""A payment's authorization as a saga has it done, and the questions what became of it."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings

from billing.models import Payment
from contracts.billing import FindAuthorization, VoidPayment
from contracts.message import Message
from eventstore.models import StoredEvent
from messaging import idempotency
from messaging.consumer import consume
from messaging.delivery import Delivery
from messaging.envelope import Envelope, utc_now
from messaging.metrics import Outcome
from messaging.models import FailedAttempt, IdempotencyKey, OutboxMessage
from tests.builders import EUR_25, a_delivery, an_envelope, authorize_payment
from tests.integration.gateway_double import GatewayDouble, Killed, killed

BILLING = settings.SERVICES["billing"]


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
        return consume("billing", a_delivery(command, self.envelope(command, self.key)))

    def ask(self, *, number: int | None = None, **envelope: Any) -> Outcome:
        """A question; with a number that was used before, the same question again."""
        self.numbers = number or self.numbers + 1
        question = FindAuthorization(order_id=self.order_id, total=EUR_25)
        key = idempotency.question_key(
            saga_id=self.saga_id, step="authorize", step_try=1, number=self.numbers
        )
        return consume("billing", a_delivery(question, self.envelope(question, key, **envelope)))

    def void(self) -> Outcome:
        key = idempotency.saga_key(saga_id=self.saga_id, step="authorize", step_try=1, is_compensation=True)
        command = VoidPayment(order_id=self.order_id)
        return consume("billing", a_delivery(command, self.envelope(command, key)))

    def envelope(self, message: Message, key: str, **more: Any) -> Envelope:
        named = {
            "saga_id": self.saga_id,
            "step": "authorize",
            "step_try": 1,
            "occurred_at": utc_now(),
            **more,
        }
        return an_envelope(message, key=key, **named)

    def relay(self) -> Outcome:
        """Deliver the one message that was put back, as relay and broker would once it is due."""
        row = OutboxMessage.objects.using(BILLING).get(headers__saga_id=str(self.saga_id), exchange="")
        row.delete(using=BILLING)
        return consume(
            "billing", Delivery(headers=row.headers, payload=row.body, exchange="", routing_key="billing")
        )

    def die_in_the_call(self, gateway: GatewayDouble) -> None:
        """The gateway has done it, and the process dies before that is stored."""
        gateway.before_answer.append(killed)
        with pytest.raises(Killed):
            self.authorize()
        self.end_lease()

    def end_lease(self) -> None:
        updated = (
            IdempotencyKey.objects.using(BILLING)
            .filter(key=self.key, state="started")
            .update(lease_until=utc_now() - timedelta(seconds=1))
        )
        assert updated == 1

    @property
    def kept(self) -> IdempotencyKey:
        """The row of the command's key."""
        return IdempotencyKey.objects.using(BILLING).get(key=self.key)

    @property
    def burnt(self) -> list[str]:
        """The errors of the attempts that counted, of the command and of the questions."""
        failed = FailedAttempt.objects.using(BILLING).filter(correlation_id=str(self.order_id))
        return [attempt.exception for attempt in failed.order_by("id")]

    @property
    def state(self) -> str | None:
        return Payment.objects.filter(order_id=self.order_id).values_list("state", flat=True).first()

    def said(self) -> list[str]:
        """What waits in billing's outbox for this step, oldest first."""
        rows = OutboxMessage.objects.using(BILLING).filter(headers__saga_id=str(self.saga_id))
        return [row.type.split(".")[1] for row in rows.order_by("id")]

    def events(self) -> list[str]:
        found = StoredEvent.objects.using(BILLING).filter(stream=f"payment-{self.order_id}")
        return list(found.order_by("version").values_list("type", flat=True))
