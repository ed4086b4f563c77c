"""What the services of the measured saga are told, and what they answer.

Each command is there twice: for the handler that takes one in a transaction, and for the one that takes many. The
answers are the same.
"""

from typing import ClassVar
from uuid import UUID

from contracts.message import Command, Event

INVENTORY, BILLING, SHIPPING = SERVICES = ("bench_inventory", "bench_billing", "bench_shipping")
BATCH = 50
"""So many commands a batching handler takes into one transaction."""


class OrderTaken(Event, frozen=True, kw_only=True):
    """The start. The note makes it as long as that of a usual order."""

    wire_type: ClassVar[str] = "benchmarks.order_taken.v1"
    order_id: UUID
    counter: int
    is_deliverable: bool
    note: str


class OrderTakenInBatch(Event, frozen=True, kw_only=True):
    """The start of the saga whose commands are handled in batches."""

    wire_type: ClassVar[str] = "benchmarks.order_taken_in_batch.v1"
    order_id: UUID
    counter: int
    is_deliverable: bool
    note: str


Start = type[OrderTaken] | type[OrderTakenInBatch]


class Reserve(Command, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "bench_inventory.reserve.v1"
    order_id: UUID
    counter: int
    note: str


class Release(Command, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "bench_inventory.release.v1"
    order_id: UUID
    counter: int


class Authorize(Command, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "bench_billing.authorize.v1"
    order_id: UUID
    counter: int
    note: str


class Void(Command, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "bench_billing.void.v1"
    order_id: UUID
    counter: int


class Ship(Command, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "bench_shipping.ship.v1"
    order_id: UUID
    counter: int
    is_deliverable: bool
    note: str


class ReserveInBatch(Reserve, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "bench_inventory.reserve_in_batch.v1"


class ReleaseInBatch(Release, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "bench_inventory.release_in_batch.v1"


class AuthorizeInBatch(Authorize, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "bench_billing.authorize_in_batch.v1"


class VoidInBatch(Void, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "bench_billing.void_in_batch.v1"


class ShipInBatch(Ship, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "bench_shipping.ship_in_batch.v1"


class Reserved(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "bench_inventory.reserved.v1"
    order_id: UUID


class Released(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "bench_inventory.released.v1"
    order_id: UUID


class Authorized(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "bench_billing.authorized.v1"
    order_id: UUID


class Voided(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "bench_billing.voided.v1"
    order_id: UUID


class Shipped(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "bench_shipping.shipped.v1"
    order_id: UUID


class ShippingRefused(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "bench_shipping.shipping_refused.v1"
    order_id: UUID
    reason: str


ALL = (
    *(OrderTaken, OrderTakenInBatch),
    *(Reserve, Release, Reserved, Released, ReserveInBatch, ReleaseInBatch),
    *(Authorize, Void, Authorized, Voided, AuthorizeInBatch, VoidInBatch),
    *(Ship, Shipped, ShippingRefused, ShipInBatch),
)
