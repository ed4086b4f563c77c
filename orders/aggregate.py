"""An order as the fold of its events."""

from datetime import datetime
from uuid import UUID

import msgspec

from contracts.message import Message
from contracts.orders import (
    CancellationRefused,
    CancellationRequested,
    ContactGiven,
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    OrderRefunded,
)
from contracts.values import Address, Contact, Money, PricedLine


class OrderState(msgspec.Struct, frozen=True, kw_only=True):
    """What the events say; the projection's row shows exactly this."""

    order_id: UUID
    version: int
    status: str
    reason: str
    lines: tuple[PricedLine, ...]
    total: Money
    ship_to: Address
    contact: Contact | None
    placed_at: datetime
    finished_at: datetime | None


def stream_of(order_id: UUID) -> str:
    return f"order-{order_id}"


def evolve(state: OrderState | None, event: Message) -> OrderState:
    """The state after one more event; raises `TypeError` for an event that cannot follow."""
    match state, event:
        case None, OrderPlaced():
            return OrderState(
                order_id=event.order_id,
                version=1,
                status="pending",
                reason="",
                lines=event.lines,
                total=event.total,
                ship_to=event.ship_to,
                contact=None,
                placed_at=event.placed_at,
                finished_at=None,
            )
        case OrderState(), ContactGiven():
            return _next(state, contact=event.contact)
        case OrderState(status="pending"), OrderConfirmed():
            return _next(state, status="confirmed", finished_at=event.confirmed_at)
        case OrderState(status="pending"), OrderCancelled():
            return _next(state, status="cancelled", reason=event.reason, finished_at=event.cancelled_at)
        case OrderState(status="confirmed"), CancellationRequested():
            return _next(state, status="cancelling", reason="")
        case OrderState(status="cancelling"), CancellationRefused():
            return _next(state, status="confirmed", reason=event.reason)
        case OrderState(status="cancelling"), OrderRefunded():
            return _next(state, status="refunded", finished_at=event.refunded_at)
    raise TypeError(f"A {type(event).__name__} cannot follow here: {state!r}.")


def _next(state: OrderState, /, **changes: object) -> OrderState:
    return msgspec.structs.replace(state, version=state.version + 1, **changes)
