"""A consumer of the tests' own that needs its events in order: `notifications` on the streams of payments.

Its handler writes down what it is given, in the transaction that it runs in.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import msgspec
from django.conf import settings
from django.db import connections

from contracts.billing import PaymentAuthorized, PaymentCaptured, PaymentRefunded, PaymentVoided
from contracts.message import Event
from messaging import handling, ordering
from messaging.consumer import consume
from messaging.delivery import Delivery
from messaging.envelope import Envelope, new_message_id
from messaging.handling import Handler
from messaging.models import HeldBackMessage, OutboxMessage, StreamPosition
from messaging.unit_of_work import current
from tests.builders import EUR_25, a_delivery, an_envelope

SERVICE = "notifications"
DATABASE: str = settings.SERVICES[SERVICE]
STREAM_TYPES = (PaymentAuthorized, PaymentCaptured, PaymentVoided, PaymentRefunded)
WITHOUT_HANDLER = PaymentVoided
_HANDLED = "CREATE TABLE IF NOT EXISTS handled_in_order (id bigserial, stream text, sequence int)"


def own_registry(monkeypatch: Any) -> None:
    """Until the test ends, what it declares is declared beside the shop's own handlers."""
    monkeypatch.setattr(handling, "_handlers", dict(handling._handlers))
    by_service = {service: dict(handlers) for service, handlers in handling._handlers_of.items()}
    monkeypatch.setattr(handling, "_handlers_of", by_service)
    monkeypatch.setattr(ordering, "_declared", {})


class OrderedConsumer:
    """Declared in a registry that is the test's own; `before` is called with the envelope ahead of each event."""

    def __init__(self, monkeypatch: Any, *, starts_after: int = 0) -> None:
        own_registry(monkeypatch)
        self.before: Callable[[Envelope], None] = lambda envelope: None
        ordering.ordered(SERVICE, kind="payment", types=STREAM_TYPES, starts_after=starts_after)
        for event_type in STREAM_TYPES:
            if event_type is not WITHOUT_HANDLER:
                handling._register(Handler(service=SERVICE, message_type=event_type, run=self._handle))
        handling.complete_ordered_consumers()
        with connections[DATABASE].cursor() as cursor:
            cursor.execute(_HANDLED)

    def _handle(self, event: Event) -> None:
        envelope = current().cause
        assert envelope is not None
        self.before(envelope)
        with connections[DATABASE].cursor() as cursor:
            cursor.execute(
                "INSERT INTO handled_in_order (stream, sequence) VALUES (%s, %s)",
                [envelope.stream, envelope.sequence],
            )

    def handled(self, stream: str) -> list[int]:
        """What the handler was given and committed, in that order."""
        with connections[DATABASE].cursor() as cursor:
            cursor.execute("SELECT sequence FROM handled_in_order WHERE stream = %s ORDER BY id", [stream])
            return [sequence for (sequence,) in cursor.fetchall()]


def a_stream(kind: str = "payment") -> str:
    return f"{kind}-{uuid4()}"


def an_event(
    stream: str, sequence: int, *, event_type: type[Event] = PaymentAuthorized, **more: Any
) -> Delivery:
    """Event number `sequence` of the stream, as the broker hands it over."""
    order_id = UUID(stream.partition("-")[2])
    contents = {"order_id": order_id, "total": EUR_25, "authorization": "auth_1"}
    fields = {name: contents[name] for name in event_type.__struct_fields__}
    event = event_type(**fields)
    return a_delivery(event, an_envelope(event, stream=stream, sequence=sequence, **more))


def deliver(delivery: Delivery) -> None:
    consume(SERVICE, delivery)


def replay_of(delivery: Delivery) -> Delivery:
    """The dead letter as it is put back: the same message, attempt 1, with a replay id."""
    headers = {**delivery.headers, "attempt": 1, "replay_id": str(new_message_id())}
    return msgspec.structs.replace(delivery, headers=headers, exchange="", routing_key=SERVICE)


def take_outgoing(stream: str) -> list[Delivery]:
    """What the relay would now send to the consumer's own queue, oldest first; it leaves the outbox."""
    rows = OutboxMessage.objects.using(DATABASE).filter(headers__stream=stream).order_by("id")
    taken = list(rows)
    OutboxMessage.objects.using(DATABASE).filter(id__in=[row.id for row in taken]).delete()
    assert all((row.exchange, row.routing_key) == ("", SERVICE) for row in taken)
    return [
        Delivery(headers=row.headers, payload=row.body, exchange="", routing_key=SERVICE) for row in taken
    ]


def held_back(stream: str) -> list[int]:
    rows = HeldBackMessage.objects.using(DATABASE).filter(consumer=SERVICE, stream=stream)
    return list(rows.order_by("sequence").values_list("sequence", flat=True))


def position(stream: str) -> int | None:
    rows = StreamPosition.objects.using(DATABASE).filter(consumer=SERVICE, stream=stream)
    return rows.values_list("last_sequence", flat=True).first()
