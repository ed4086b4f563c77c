"""What tests talk about: an order, its messages and its saga, each with defaults that are beside the point."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec

from contracts import reasons
from contracts.billing import (
    AuthorizePayment,
    CapturePayment,
    CaptureRefused,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentVoided,
)
from contracts.inventory import GoodsRestocked, ReserveStock, StockReleased, StockReserved, StockUnavailable
from contracts.message import Message
from contracts.orders import (
    CancellationRefused,
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    OrderRefunded,
)
from contracts.shipping import (
    ShipmentBooked,
    ShipmentCancelled,
    ShipmentLeft,
    ShipmentRecalled,
    ShipmentRefused,
)
from contracts.values import Address, Contact, Line, Money, PricedLine
from messaging.delivery import Delivery
from messaging.envelope import Envelope, new_message_id
from orders.services import OrderRequest

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
EUR_25 = Money(2500, "EUR")
ADA = Contact(name="Ada Lovelace", email="ada@example.com")
LONDON = Address(
    name="Ada Lovelace", line1="12 St James's Square", city="London", postcode="SW1Y 4JH", country="GB"
)
TWO_MUGS = (Line(sku="mug", quantity=2),)


def an_order_request(
    *, sku: str = "mug", quantity: int = 1, card: str = "tok_visa", **address: str
) -> OrderRequest:
    """A checkout as the form would hand it over."""
    return OrderRequest(
        customer=ADA,
        ship_to=msgspec.structs.replace(LONDON, **address),
        payment_token=card,
        lines=((sku, quantity),),
    )


def order_placed(order_id: UUID | None = None, *, card: str = "tok_visa") -> OrderPlaced:
    return OrderPlaced(
        order_id=order_id or uuid4(),
        lines=(PricedLine(sku="mug", name="Everyday mug", quantity=2, unit_price=Money(1250, "EUR")),),
        total=EUR_25,
        payment_token=card,
        ship_to=LONDON,
        placed_at=NOON,
    )


def reserve_stock(order_id: UUID, *, sku: str = "mug", quantity: int = 2) -> ReserveStock:
    return ReserveStock(order_id=order_id, lines=(Line(sku=sku, quantity=quantity),))


def authorize_payment(order_id: UUID, *, card: str = "tok_visa") -> AuthorizePayment:
    return AuthorizePayment(order_id=order_id, total=EUR_25, payment_token=card)


def capture_payment(order_id: UUID) -> CapturePayment:
    return CapturePayment(order_id=order_id)


class Replies:
    """What the services may answer about one order."""

    def __init__(self, order_id: UUID) -> None:
        self.reserved = StockReserved(order_id=order_id, lines=TWO_MUGS)
        self.unavailable = StockUnavailable(order_id=order_id, skus=("mug",), reason=reasons.OUT_OF_STOCK)
        self.released = StockReleased(order_id=order_id, lines=TWO_MUGS)
        self.authorized = PaymentAuthorized(order_id=order_id, total=EUR_25, authorization="auth_1")
        self.declined = PaymentDeclined(
            order_id=order_id, reason=reasons.CARD_DECLINED, detail="card_declined"
        )
        self.voided = PaymentVoided(order_id=order_id)
        self.booked = ShipmentBooked(order_id=order_id, tracking="MG1")
        self.undeliverable = ShipmentRefused(
            order_id=order_id, reason=reasons.UNDELIVERABLE, detail="not served"
        )
        self.shipment_cancelled = ShipmentCancelled(order_id=order_id)
        self.captured = PaymentCaptured(order_id=order_id, total=EUR_25)
        self.capture_refused = CaptureRefused(
            order_id=order_id, reason=reasons.CAPTURE_REFUSED, detail="capture_refused"
        )
        self.confirmed = OrderConfirmed(order_id=order_id, contact=ADA, total=EUR_25, confirmed_at=NOON)
        self.cancelled = OrderCancelled(
            order_id=order_id, contact=ADA, reason=reasons.CARD_DECLINED, cancelled_at=NOON
        )
        self.recalled = ShipmentRecalled(order_id=order_id)
        self.left = ShipmentLeft(order_id=order_id, reason=reasons.SHIPMENT_LEFT, detail="it left at once")
        self.payment_refunded = PaymentRefunded(order_id=order_id, total=EUR_25)
        self.restocked = GoodsRestocked(order_id=order_id, lines=TWO_MUGS)
        self.refunded = OrderRefunded(order_id=order_id, contact=ADA, total=EUR_25, refunded_at=NOON)
        self.cancellation_refused = CancellationRefused(
            order_id=order_id, contact=ADA, reason=reasons.SHIPMENT_LEFT, refused_at=NOON
        )


def an_envelope(message: Message, *, key: str | None = None, **more: Any) -> Envelope:
    """The envelope of a first sending; `key` is its idempotency key, else the message id."""
    message_id = more.pop("message_id", None) or new_message_id()
    return Envelope(
        message_id=message_id,
        type=message.wire_type,
        idempotency_key=key or str(message_id),
        correlation_id=str(getattr(message, "order_id", "")),
        occurred_at=more.pop("occurred_at", NOON),
        **more,
    )


def a_delivery(
    message: Message, envelope: Envelope | None = None, *, is_redelivered: bool = False
) -> Delivery:
    """The message as the broker hands it to a consumer."""
    envelope = envelope or an_envelope(message)
    return Delivery(
        headers=envelope.to_headers(),
        payload=message.to_payload(),
        exchange="commands",
        routing_key=type(message).routing_key(),  # type: ignore[attr-defined]  # every message is a command or an event
        is_redelivered=is_redelivered,
    )


def a_step_key(step: str, *, saga_id: UUID | None = None, is_compensation: bool = False) -> str:
    """The idempotency key of a saga's command."""
    return f"{saga_id or uuid4()}:{step}:1:{'compensation' if is_compensation else 'action'}"
