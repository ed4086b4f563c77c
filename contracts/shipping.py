"""The language of parcels."""

from typing import ClassVar
from uuid import UUID

from contracts.message import Command, Event
from contracts.values import Address, Line


class BookShipment(Command, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "shipping.book_shipment.v1"
    order_id: UUID
    ship_to: Address
    lines: tuple[Line, ...]


class ShipmentBooked(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "shipping.shipment_booked.v1"
    order_id: UUID
    tracking: str


class ShipmentRefused(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "shipping.shipment_refused.v1"
    order_id: UUID
    reason: str
    detail: str


class CancelShipment(Command, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "shipping.cancel_shipment.v1"
    order_id: UUID


class ShipmentCancelled(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "shipping.shipment_cancelled.v1"
    order_id: UUID


class RecallShipment(Command, frozen=True, kw_only=True):
    """Stop the parcel, if it has not left yet."""

    wire_type: ClassVar[str] = "shipping.recall_shipment.v1"
    order_id: UUID


class ShipmentRecalled(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "shipping.shipment_recalled.v1"
    order_id: UUID


class ShipmentLeft(Event, frozen=True, kw_only=True):
    """The parcel is on its way to the customer and cannot be stopped any more."""

    wire_type: ClassVar[str] = "shipping.shipment_left.v1"
    order_id: UUID
    reason: str
    detail: str
