"""A shop's records, as the services leave them behind."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings

from billing.models import Payment
from contracts.billing import AuthorizePayment, PaymentAuthorized
from contracts.orders import OrderPlaced
from contracts.values import Address, Money, PricedLine
from deadletters.models import DeadLetter, LetterAction, LetterGroup
from eventstore.store import append
from inventory.models import Reservation
from messaging.models import (
    CircuitBreaker,
    FailedAttempt,
    HeldBackMessage,
    IdempotencyKey,
    OutboxMessage,
    SkippedEvents,
    StreamPosition,
)
from notifications.models import Notification
from orders.models import Order, OrderLine, OrderStep
from sagas.models import MessageRecord, SagaRecord, StepRecord
from shipping.models import Shipment
from tests.builders import an_envelope

NOON = datetime(2026, 11, 23, 12, 0, 7, 250_000, tzinfo=UTC)
TOKEN = "tok_never_shown_to_everybody"
STREET = "12 St James's Square"
EMAIL = "ada@example.com"
RECORDS = (
    "orders.order",
    "inventory.stockitem",
    "inventory.reservation",
    "billing.payment",
    "shipping.shipment",
    "notifications.notification",
    "sagas.sagarecord",
    "deadletters.deadletter",
    "deadletters.lettergroup",
    "messaging.outboxmessage",
    "messaging.idempotencykey",
    "messaging.failedattempt",
    "messaging.circuitbreaker",
    "messaging.streamposition",
    "messaging.heldbackmessage",
    "messaging.skippedevents",
    "eventstore.storedevent",
)
"""Every table that the admin shows and nobody may write there."""
IN_EVERY_DATABASE = (
    "messaging.outboxmessage",
    "messaging.idempotencykey",
    "messaging.failedattempt",
    "messaging.streamposition",
    "messaging.heldbackmessage",
    "messaging.skippedevents",
    "eventstore.storedevent",
)


def placed(order_id: UUID) -> OrderPlaced:
    return OrderPlaced(
        order_id=order_id,
        lines=(PricedLine(sku="mug", name="Everyday mug", quantity=1, unit_price=Money(1250, "EUR")),),
        total=Money(1250, "EUR"),
        payment_token=TOKEN,
        ship_to=Address(name="Ada Lovelace", line1=STREET, city="London", postcode="SW1Y 4JH", country="GB"),
        placed_at=NOON,
    )


def record_order(*, at: datetime = NOON) -> UUID:
    """An order that was confirmed, with a row in each service's tables and a bookkeeping row in each database."""
    order_id = uuid4()
    Order.objects.create(
        id=order_id,
        version=2,
        status="confirmed",
        total_amount=1250,
        currency="EUR",
        customer_name="Ada Lovelace",
        email=EMAIL,
        line1=STREET,
        city="London",
        postcode="SW1Y 4JH",
        country="GB",
        placed_at=at,
        finished_at=at + timedelta(seconds=2.5),
    )
    OrderLine.objects.create(order_id=order_id, sku="mug", name="Everyday mug", quantity=1, unit_amount=1250)
    OrderStep.objects.create(order_id=order_id, name="reserve", state="done", at=at)
    lines = [{"sku": "mug", "quantity": 1}]
    Reservation.objects.create(order_id=order_id, version=1, state="sold", lines=lines, changed_at=at)
    Payment.objects.create(
        order_id=order_id,
        version=2,
        state="captured",
        amount=1250,
        currency="EUR",
        authorization="auth_1",
        changed_at=at,
    )
    Shipment.objects.create(order_id=order_id, version=1, state="booked", tracking="MG1", changed_at=at)
    Notification.objects.create(order_id=order_id, kind="confirmed", sent_at=at)
    _record_saga(order_id, at)
    _record_messages(order_id, at)
    record_letter(message=placed(order_id), service="orders", died_at=at)
    return order_id


def record_letter(*, message: OrderPlaced | None = None, service: str = "orders", **more: Any) -> DeadLetter:
    """A dead letter as the collector stores it, with an action in its log."""
    message = message or placed(uuid4())
    envelope = an_envelope(message)
    group, _ = LetterGroup.objects.get_or_create(
        fingerprint="a-group",
        defaults={
            "type": message.wire_type,
            "exception_class": "TimeoutError",
            "frame": "orders/handlers.py in place",
            "first_seen_at": NOON,
            "last_seen_at": NOON,
        },
    )
    fields = {
        "id": uuid4(),
        "death": uuid4().hex,
        "service": service,
        "body": json.dumps([[message.to_payload()], {}, {}]).encode(),
        "headers": envelope.to_headers(),
        "properties": {"content_type": "application/json"},
        "reason": "rejected",
        "deaths": [
            {"reason": "rejected", "queue": service, "exchange": "events", "routing-keys": ["a", "b"]}
        ],
        "message_id": envelope.message_id,
        "type": message.wire_type,
        "correlation_id": envelope.correlation_id,
        "attempt": 1,
        "exception": "TimeoutError: the gateway did not answer",
        "traceback": "Traceback (most recent call last): ...",
        "group": group,
        "died_at": NOON,
        "collected_at": NOON,
    }
    letter = DeadLetter.objects.create(**{**fields, **more})
    LetterAction.objects.create(letter=letter, kind="restored", by="ada", at=NOON, reason="by mistake")
    return letter


def _record_saga(order_id: UUID, at: datetime) -> None:
    message = placed(order_id)
    saga = SagaRecord.objects.create(
        id=uuid4(),
        name="checkout",
        version=1,
        business_key=str(order_id),
        correlation_id=str(order_id),
        status="running",
        data={"": message.to_payload()},
        current="authorize",
        sendings=2,
        started_at=at,
    )
    for position, (name, status) in enumerate(
        [("place", "done"), ("reserve", "done"), ("authorize", "sent")]
    ):
        StepRecord.objects.create(
            saga=saga,
            position=position,
            name=name,
            status=status,
            sendings=position,
            compensation="inventory.release_stock.v1" if name == "reserve" else "",
            sent_at=at,
            finished_at=at + timedelta(milliseconds=340) if status == "done" else None,
            deadline_at=at + timedelta(minutes=1) if status == "sent" else None,
        )
    for direction in ("received", "sent"):
        MessageRecord.objects.create(
            saga=saga,
            direction=direction,
            message_id=uuid4(),
            type=message.wire_type,
            body=message.to_payload(),
            at=at,
        )


def _record_order(service: str, stream: str, message: OrderPlaced, at: datetime) -> None:
    """What a service that consumes orders' events in order keeps of a stream with a gap, after another was given up."""
    database = settings.SERVICES[service]
    StreamPosition.objects.using(database).create(consumer=service, stream=stream, last_sequence=3)
    HeldBackMessage.objects.using(database).create(
        consumer=service,
        stream=stream,
        sequence=5,
        message_id=uuid4(),
        type=message.wire_type,
        headers={"stream": stream, "sequence": 5},
        body=message.to_payload(),
        held_at=at,
    )
    SkippedEvents.objects.using(database).create(
        consumer=service,
        stream=stream,
        first_sequence=2,
        last_sequence=3,
        reason="lost with a disk",
        skipped_by="ada",
        skipped_at=at,
    )


def _record_messages(order_id: UUID, at: datetime) -> None:
    message = placed(order_id)
    for service in settings.SERVICES:
        database, message_id = settings.SERVICES[service], uuid4()
        OutboxMessage.objects.using(database).create(
            message_id=message_id,
            service=service,
            type=message.wire_type,
            exchange="events",
            routing_key=message.wire_type,
            headers={"correlation_id": str(order_id)},
            body=message.to_payload(),
            available_at=at,
            created_at=at,
        )
        IdempotencyKey.objects.using(database).create(
            consumer=service,
            key=f"{order_id}:{service}:1:action",
            state="finished",
            message_id=message_id,
            type=message.wire_type,
            reply={"body": message.to_payload()},
            claimed_at=at,
            finished_at=at,
        )
        FailedAttempt.objects.using(database).create(
            consumer=service,
            message_id=message_id,
            attempt=1,
            type=message.wire_type,
            correlation_id=str(order_id),
            exception="TimeoutError: the gateway did not answer",
            traceback="Traceback (most recent call last): ...",
            failed_at=at,
        )
        CircuitBreaker.objects.using(database).create(service=service, gateway=f"gateway of {order_id}")
        _record_order(service, f"order-{order_id}", message, at)
    append(
        stream=f"order-{order_id}",
        events=[message],
        expected_version=0,
        occurred_at=at,
        database=settings.SERVICES["orders"],
    )
    authorized = PaymentAuthorized(order_id=order_id, total=Money(1250, "EUR"), authorization="auth_1")
    append(
        stream=f"payment-{order_id}",
        events=[authorized],
        expected_version=0,
        occurred_at=at,
        database=settings.SERVICES["billing"],
    )


def an_open_breaker(database: str) -> None:
    """The payment gateway is left alone, and one message waits for it, the third attempt at it."""
    now = datetime.now(UTC)
    CircuitBreaker.objects.using(database).create(
        service="billing",
        gateway="payment gateway",
        state="open",
        failures=7,
        opened_at=now - timedelta(minutes=1),
        probe_at=now + timedelta(minutes=1),
        last_error="TransientError: no answer",
    )
    OutboxMessage.objects.using(database).create(
        message_id=uuid4(),
        service="billing",
        type=AuthorizePayment.wire_type,
        exchange="",
        routing_key="billing",
        headers={"attempt": 3},
        body={},
        available_at=now + timedelta(minutes=1),
        created_at=now,
        waits_for="payment gateway",
    )
