"""A payment as the fold of its events."""

from uuid import UUID

import msgspec

from contracts.billing import (
    CaptureRefused,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentVoided,
)
from contracts.message import Message


class PaymentState(msgspec.Struct, frozen=True, kw_only=True):
    """What the events say; the projection's row shows exactly this."""

    order_id: UUID
    version: int = 1
    state: str
    amount: int = 0
    currency: str = ""
    authorization: str = ""
    detail: str = ""


def stream_of(order_id: UUID) -> str:
    return f"payment-{order_id}"


def evolve(state: PaymentState | None, event: Message) -> PaymentState:
    """The state after one more event; raises `TypeError` for an event that cannot follow."""
    match state, event:
        case None, PaymentAuthorized():
            return PaymentState(
                order_id=event.order_id,
                state="authorized",
                amount=event.total.amount,
                currency=event.total.currency,
                authorization=event.authorization,
            )
        case None, PaymentDeclined():
            return PaymentState(order_id=event.order_id, state="declined", detail=event.detail)
        case None, PaymentVoided():
            return PaymentState(order_id=event.order_id, state="voided")
        case PaymentState(), PaymentVoided():
            return _next(state, state="voided")
        case PaymentState(state="authorized"), PaymentCaptured():
            return _next(state, state="captured")
        case PaymentState(state="authorized"), CaptureRefused():
            return _next(state, state="capture_refused", detail=event.detail)
        case PaymentState(state="captured"), PaymentRefunded():
            return _next(state, state="refunded")
    raise TypeError(f"A {type(event).__name__} cannot follow here: {state!r}.")


def _next(state: PaymentState, /, **changes: str) -> PaymentState:
    return msgspec.structs.replace(state, version=state.version + 1, **changes)
