"""The language of orders."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from contracts.message import Command, Event
from contracts.values import Address, Contact, Money, PricedLine


class OrderPlaced(Event, frozen=True, kw_only=True):
    """A customer has ordered. It carries what the steps of the checkout need, and no card data but the token."""

    wire_type: ClassVar[str] = "orders.order_placed.v1"
    order_id: UUID
    lines: tuple[PricedLine, ...]
    total: Money
    payment_token: str
    ship_to: Address
    placed_at: datetime


class ContactGiven(Event, frozen=True, kw_only=True):
    """Who is to be told. It is in the order's stream and has no subscriber, so that it travels nowhere."""

    wire_type: ClassVar[str] = "orders.contact_given.v1"
    order_id: UUID
    contact: Contact


class ConfirmOrder(Command, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "orders.confirm_order.v1"
    order_id: UUID


class OrderConfirmed(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "orders.order_confirmed.v1"
    order_id: UUID
    contact: Contact
    total: Money
    confirmed_at: datetime


class CancelOrder(Command, frozen=True, kw_only=True):
    """`reason` is one of the codes of `contracts.reasons`."""

    wire_type: ClassVar[str] = "orders.cancel_order.v1"
    order_id: UUID
    reason: str


class OrderCancelled(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "orders.order_cancelled.v1"
    order_id: UUID
    contact: Contact
    reason: str
    cancelled_at: datetime


class CancellationRequested(Event, frozen=True, kw_only=True):
    """The customer of a confirmed order wants it cancelled. Each request has an id of its own."""

    wire_type: ClassVar[str] = "orders.cancellation_requested.v1"
    request_id: UUID
    order_id: UUID
    total: Money
    requested_at: datetime


class RefuseCancellation(Command, frozen=True, kw_only=True):
    """The order stays confirmed. `reason` is one of the codes of `contracts.reasons`."""

    wire_type: ClassVar[str] = "orders.refuse_cancellation.v1"
    order_id: UUID
    reason: str


class CancellationRefused(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "orders.cancellation_refused.v1"
    order_id: UUID
    contact: Contact
    reason: str
    refused_at: datetime


class RefundOrder(Command, frozen=True, kw_only=True):
    """The money is given back and the goods are on the shelf again: the order is over."""

    wire_type: ClassVar[str] = "orders.refund_order.v1"
    order_id: UUID


class OrderRefunded(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "orders.order_refunded.v1"
    order_id: UUID
    contact: Contact
    total: Money
    refunded_at: datetime
