"""The checkout: from a placed order to a confirmed one, or to a cancelled one with everything undone."""

from contracts.billing import (
    AuthorizationNotFound,
    AuthorizePayment,
    CaptureNotFound,
    CapturePayment,
    CaptureRefused,
    FindAuthorization,
    FindCapture,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentDeclined,
    PaymentVoided,
    VoidPayment,
)
from contracts.inventory import ReleaseStock, ReserveStock, StockReleased, StockReserved, StockUnavailable
from contracts.orders import CancelOrder, ConfirmOrder, OrderCancelled, OrderConfirmed, OrderPlaced
from contracts.shipping import (
    BookShipment,
    CancelShipment,
    ShipmentBooked,
    ShipmentCancelled,
    ShipmentRefused,
)
from sagas.definition import Exhausted, Pivot, Saga, Step

# fmt: off
_PLACE   = Step("place",   undo=CancelOrder, undone=OrderCancelled)
_RESERVE = Step("reserve", ReserveStock, done=StockReserved,  refused=StockUnavailable, undo=ReleaseStock,   undone=StockReleased, exhausted=Exhausted.COMPENSATE)
_SHIP    = Step("ship",    BookShipment, done=ShipmentBooked, refused=ShipmentRefused,  undo=CancelShipment, undone=ShipmentCancelled)
_CONFIRM = Step("confirm", ConfirmOrder, done=OrderConfirmed)

CHECKOUT_1 = Saga("checkout", version=1, starts=OrderPlaced, unique_by="order_id", steps=(
    _PLACE,
    _RESERVE,
    Step("authorize", AuthorizePayment, done=PaymentAuthorized, refused=PaymentDeclined,  undo=VoidPayment,    undone=PaymentVoided),
    _SHIP,
    Pivot("capture",  CapturePayment,   done=PaymentCaptured,   refused=CaptureRefused),
    _CONFIRM,
))
"""Sagas that began before the gateway was asked what had become of a payment finish on this one."""

CHECKOUT = Saga("checkout", version=2, starts=OrderPlaced, unique_by="order_id", steps=(
    _PLACE,
    _RESERVE,
    Step("authorize", AuthorizePayment, done=PaymentAuthorized, refused=PaymentDeclined,  undo=VoidPayment,    undone=PaymentVoided, ask=FindAuthorization, nothing=AuthorizationNotFound),
    _SHIP,
    Pivot("capture",  CapturePayment,   done=PaymentCaptured,   refused=CaptureRefused, ask=FindCapture, nothing=CaptureNotFound),
    _CONFIRM,
))
# fmt: on
