"""Services in this process: their handlers are called as a worker calls them, on real databases."""

import pytest
from django.conf import settings

from billing import handlers as billing_handlers
from contracts.message import Message
from messaging.consumer import consume
from messaging.models import FailedAttempt, IdempotencyKey, OutboxMessage
from tests.builders import a_delivery, an_envelope
from tests.integration.gateway_double import GatewayDouble


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> GatewayDouble:
    double = GatewayDouble()
    monkeypatch.setattr(billing_handlers, "gateway", lambda: double)
    return double


class Bookkeeping:
    """What one service's database says about messages."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.database: str = settings.SERVICES[service]

    def outgoing(self, order_id: object) -> list[OutboxMessage]:
        """The rows in the outbox that belong to an order, oldest first."""
        rows = OutboxMessage.objects.using(self.database).filter(headers__correlation_id=str(order_id))
        return list(rows.order_by("id"))

    def types_outgoing(self, order_id: object) -> list[str]:
        return [row.type for row in self.outgoing(order_id)]

    def key(self, key: str) -> IdempotencyKey | None:
        return IdempotencyKey.objects.using(self.database).filter(consumer=self.service, key=key).first()

    def failures(self, message_id: object) -> list[FailedAttempt]:
        return list(
            FailedAttempt.objects.using(self.database)
            .filter(consumer=self.service, message_id=message_id)
            .order_by("attempt")
        )


@pytest.fixture
def bookkeeping() -> type[Bookkeeping]:
    return Bookkeeping


@pytest.fixture
def deliver():
    """Hand a message to a service as its worker would; `key` is the idempotency key."""

    def deliver_(service: str, message: Message, *, key: str | None = None, **envelope: object) -> None:
        consume(service, a_delivery(message, an_envelope(message, key=key, **envelope)))

    return deliver_
