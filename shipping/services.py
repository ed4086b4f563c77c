"""What the shipping service can do."""

from uuid import UUID

from contracts import reasons
from contracts.message import Event
from contracts.shipping import ShipmentBooked, ShipmentCancelled, ShipmentRefused
from messaging import outbox
from messaging.unit_of_work import current
from shipping.carrier import Booked, NotServed
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


def _change(order_id: UUID, event: Event, **columns: str) -> None:
    shipment = Shipment.objects.select_for_update().filter(order_id=order_id).first()
    version = shipment.version + 1 if shipment else 1
    outbox.publish(event, stream=f"shipment-{order_id}", version=version)
    now = current().now
    if shipment is None:
        Shipment.objects.create(order_id=order_id, version=version, changed_at=now, **columns)
    else:
        Shipment.objects.filter(order_id=order_id).update(version=version, changed_at=now, **columns)
