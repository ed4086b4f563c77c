"""What the three services of the measured saga do: one row changed, one event appended, which is the reply."""

from django.conf import settings
from django.db import connections

from benchmarks.peers.saga_names import AUTHORIZE, CHANGE, DONE, REFUSED, RESERVE, SHIP, UNDONE
from benchmarks.saga_messages import (
    ALL,
    BATCH,
    BILLING,
    INVENTORY,
    SHIPPING,
    Authorize,
    Authorized,
    AuthorizeInBatch,
    Release,
    Released,
    ReleaseInBatch,
    Reserve,
    Reserved,
    ReserveInBatch,
    Ship,
    ShipInBatch,
    Shipped,
    ShippingRefused,
    Void,
    Voided,
    VoidInBatch,
)
from contracts.catalogue import MESSAGE_TYPES
from contracts.message import Event
from messaging import outbox
from messaging.handling import handles

MESSAGE_TYPES.update({kind.wire_type: kind for kind in ALL})


@handles(Reserve, service=INVENTORY)
@handles(ReserveInBatch, service=INVENTORY, batch=BATCH)
def reserve(command: Reserve) -> Event:
    return _change(DONE, RESERVE, command.counter, Reserved(order_id=command.order_id))


@handles(Release, service=INVENTORY)
@handles(ReleaseInBatch, service=INVENTORY, batch=BATCH)
def release(command: Release) -> Event:
    return _change(UNDONE, RESERVE, command.counter, Released(order_id=command.order_id))


@handles(Authorize, service=BILLING)
@handles(AuthorizeInBatch, service=BILLING, batch=BATCH)
def authorize(command: Authorize) -> Event:
    return _change(DONE, AUTHORIZE, command.counter, Authorized(order_id=command.order_id))


@handles(Void, service=BILLING)
@handles(VoidInBatch, service=BILLING, batch=BATCH)
def void(command: Void) -> Event:
    return _change(UNDONE, AUTHORIZE, command.counter, Voided(order_id=command.order_id))


@handles(Ship, service=SHIPPING)
@handles(ShipInBatch, service=SHIPPING, batch=BATCH)
def ship(command: Ship) -> Event:
    if command.is_deliverable:
        return _change(DONE, SHIP, command.counter, Shipped(order_id=command.order_id))
    refused = ShippingRefused(order_id=command.order_id, reason="undeliverable")
    return _change(REFUSED, SHIP, command.counter, refused)


def _change(effect: int, step: str, counter: int, event: Event) -> Event:
    with connections[settings.SERVICES[INVENTORY]].cursor() as cursor:
        cursor.execute(CHANGE, [effect, step, counter])
        (version,) = cursor.fetchone()
    outbox.publish(event, stream=f"{step}-{counter}", version=version)
    return event
