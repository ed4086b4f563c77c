"""What the shipping service can do."""

from uuid import UUID

from contracts import reasons
from contracts.message import Event
from contracts.shipping import (
    ShipmentBooked,
    ShipmentCancelled,
    ShipmentLeft,
    ShipmentRecalled,
    ShipmentRefused,
)
from messaging import outbox
from messaging.unit_of_work import current
from shipping.carrier import Booked, Left, NotServed, Recalled
from shipping.errors import NoParcel
from shipping.models import Shipment

SERVICE = "shipping"


def record_booking(order_id: UUID, outcome: Booked | NotServed) -> Event:
    """Store what the carrier answered."""
    if isinstance(outcome, Booked):
        booked = ShipmentBooked(order_id=order_id, tracking=outcome.tracking)
        _change(order_id, booked, state=Shipment.State.BOOKED, tracking=outcome.tracking)
        return booked
    refused = ShipmentRefused(order_id=order_id, reason=reasons.UNDELIVERABLE, detail=outcome.detail)
    _change(order_id, refused, state=Shipment.State.REFUSED, detail=outcome.detail)
    return refused


def record_cancellation(order_id: UUID) -> Event:
    """The carrier holds no parcel of the order any more."""
    cancelled = ShipmentCancelled(order_id=order_id)
    _change(order_id, cancelled, state=Shipment.State.CANCELLED)
    return cancelled


def booked_parcel(order_id: UUID) -> Shipment:
    """The order's parcel, which was booked when its row was changed last; raises `NoParcel` where none is booked."""
    shipment = Shipment.objects.filter(order_id=order_id).first()
    if shipment is None or shipment.state != Shipment.State.BOOKED:
        found = shipment.state if shipment else "not known here"
        raise NoParcel(f"The parcel of order {order_id} is to be recalled, and is {found}.")
    return shipment


def record_recall(order_id: UUID, outcome: Recalled | Left) -> Event:
    """Store what the carrier answered."""
    if isinstance(outcome, Recalled):
        recalled = ShipmentRecalled(order_id=order_id)
        _change(order_id, recalled, state=Shipment.State.RECALLED)
        return recalled
    left = ShipmentLeft(order_id=order_id, reason=reasons.SHIPMENT_LEFT, detail=outcome.detail)
    _change(order_id, left, state=Shipment.State.LEFT, detail=outcome.detail)
    return left


def _change(order_id: UUID, event: Event, **columns: str) -> None:
    shipment = Shipment.objects.select_for_update().filter(order_id=order_id).first()
    version = shipment.version + 1 if shipment else 1
    outbox.publish(event, stream=f"shipment-{order_id}", version=version)
    now = current().now
    if shipment is None:
        Shipment.objects.create(order_id=order_id, version=version, changed_at=now, **columns)
    else:
        Shipment.objects.filter(order_id=order_id).update(version=version, changed_at=now, **columns)
