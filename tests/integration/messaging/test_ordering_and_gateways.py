"""An ordered handler that asks a gateway, and events that were held back for very long."""

from datetime import timedelta

import pytest

from contracts.billing import PaymentAuthorized
from contracts.orders import OrderConfirmed
from messaging import handling, ordering
from messaging.envelope import utc_now
from messaging.errors import TransientError
from messaging.handling import GatewayHandler
from messaging.models import KeyRetention
from tests.builders import NOON
from tests.integration.messaging.ordered_consumer import (
    DATABASE,
    SERVICE,
    OrderedConsumer,
    a_stream,
    an_event,
    deliver,
    held_back,
    own_registry,
    position,
    take_outgoing,
)

pytestmark = pytest.mark.usefixtures("committed")


class AskingConsumer:
    """An ordered handler that asks a gateway; `asked` are the numbers it has asked for."""

    def __init__(self, monkeypatch) -> None:
        own_registry(monkeypatch)
        self.asked: list[str] = []
        self.concluded: list[str] = []
        self.problem: Exception | None = None
        ordering.ordered(SERVICE, kind="order", types=[OrderConfirmed, PaymentAuthorized])
        handling._register(
            GatewayHandler(
                service=SERVICE,
                message_type=PaymentAuthorized,
                gateway="mail",
                prepare=lambda event, action: {"authorization": event.authorization},
                call=self._call,
                conclude=self._conclude,
            )
        )

    def _call(self, request, key) -> str:
        self.asked.append(key)
        if self.problem is not None:
            raise self.problem
        return key

    def _conclude(self, event, outcome) -> None:
        self.concluded.append(outcome)


def test_a_handler_that_asks_a_gateway_moves_the_position_with_the_outcome(committed, monkeypatch):
    consumer, stream = AskingConsumer(monkeypatch), a_stream("order")
    first, second = an_event(stream, 1), an_event(stream, 2)

    consumer.problem = TransientError("the gateway is away")
    deliver(first)
    deliver(second)
    assert (position(stream), held_back(stream)) == (0, [2])

    consumer.problem = None
    (retry,) = take_outgoing(stream)
    deliver(retry)
    deliver(first)
    (goes_on,) = take_outgoing(stream)
    deliver(goes_on)
    keys = [delivery.headers["idempotency_key"] for delivery in (first, second)]
    assert consumer.concluded == keys
    assert position(stream) == 2


@pytest.mark.parametrize("asks_a_gateway", [False, True], ids=["plain", "asking a gateway"])
def test_an_event_that_was_held_back_longer_than_keys_are_kept_is_handled(
    committed, monkeypatch, asks_a_gateway
):
    """The position tells it from a copy, whatever its age; no key that may be gone is asked."""
    consumer = AskingConsumer(monkeypatch) if asks_a_gateway else OrderedConsumer(monkeypatch)
    stream = a_stream("order" if asks_a_gateway else "payment")
    first, second = an_event(stream, 1), an_event(stream, 2)
    deliver(second)
    limits = KeyRetention.objects.using(DATABASE)
    limits.create(service=SERVICE, keys_kept_since=NOON + timedelta(days=1), raised_at=utc_now())
    try:
        deliver(first)
        (goes_on,) = take_outgoing(stream)
        deliver(goes_on)
    finally:
        limits.filter(service=SERVICE).delete()

    assert position(stream) == 2
    assert len(consumer.concluded if asks_a_gateway else consumer.handled(stream)) == 2
