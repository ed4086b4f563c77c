"""A mistake of the kind that releases have: a field of an event was renamed, and one place was forgotten."""

from typing import ClassVar
from uuid import UUID

import msgspec

from shipping import services


class ShipmentBooked(msgspec.Struct, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "shipping.shipment_booked.v1"
    order_id: UUID
    tracking_code: str


services.ShipmentBooked = ShipmentBooked
