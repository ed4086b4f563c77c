"""The language of money."""

from typing import ClassVar
from uuid import UUID

from contracts.message import Command, Event
from contracts.values import Money


class AuthorizePayment(Command, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "billing.authorize_payment.v1"
    order_id: UUID
    total: Money
    payment_token: str


class PaymentAuthorized(Event, frozen=True, kw_only=True):
    """`authorization` is the gateway's own reference."""

    wire_type: ClassVar[str] = "billing.payment_authorized.v1"
    order_id: UUID
    total: Money
    authorization: str


class PaymentDeclined(Event, frozen=True, kw_only=True):
    """Nothing was charged. `detail` is the gateway's code."""

    wire_type: ClassVar[str] = "billing.payment_declined.v1"
    order_id: UUID
    reason: str
    detail: str


class VoidPayment(Command, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "billing.void_payment.v1"
    order_id: UUID


class PaymentVoided(Event, frozen=True, kw_only=True):
    """No money of the order is held any more."""

    wire_type: ClassVar[str] = "billing.payment_voided.v1"
    order_id: UUID


class CapturePayment(Command, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "billing.capture_payment.v1"
    order_id: UUID


class PaymentCaptured(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "billing.payment_captured.v1"
    order_id: UUID
    total: Money


class CaptureRefused(Event, frozen=True, kw_only=True):
    """The authorized money could not be taken; nothing was charged."""

    wire_type: ClassVar[str] = "billing.capture_refused.v1"
    order_id: UUID
    reason: str
    detail: str


class RefundPayment(Command, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "billing.refund_payment.v1"
    order_id: UUID


class PaymentRefunded(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "billing.payment_refunded.v1"
    order_id: UUID
    total: Money


class FindAuthorization(Command, frozen=True, kw_only=True):
    """What became of `AuthorizePayment`? It is answered with what that would have been answered with, or not found."""

    wire_type: ClassVar[str] = "billing.find_authorization.v1"
    order_id: UUID
    total: Money


class AuthorizationNotFound(Event, frozen=True, kw_only=True):
    """Nothing was authorized, as far as billing and the gateway know. The command may still be on its way."""

    wire_type: ClassVar[str] = "billing.authorization_not_found.v1"
    order_id: UUID


class FindCapture(Command, frozen=True, kw_only=True):
    """What became of `CapturePayment`? It is answered with what that would have been answered with, or not found."""

    wire_type: ClassVar[str] = "billing.find_capture.v1"
    order_id: UUID


class CaptureNotFound(Event, frozen=True, kw_only=True):
    """Nothing was captured, as far as billing and the gateway know. The command may still be on its way."""

    wire_type: ClassVar[str] = "billing.capture_not_found.v1"
    order_id: UUID
