"""The checkout: from a placed order to a confirmed one, or to a cancelled one with everything undone."""

from contracts.billing import (
    AuthorizePayment,
    CapturePayment,
    CaptureRefused,
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
CHECKOUT = Saga("checkout", version=1, starts=OrderPlaced, unique_by="order_id", steps=(
    Step("place",     undo=CancelOrder, undone=OrderCancelled),
    Step("reserve",   ReserveStock,     done=StockReserved,     refused=StockUnavailable, undo=ReleaseStock,   undone=StockReleased, exhausted=Exhausted.COMPENSATE),
    Step("authorize", AuthorizePayment, done=PaymentAuthorized, refused=PaymentDeclined,  undo=VoidPayment,    undone=PaymentVoided),
    Step("ship",      BookShipment,     done=ShipmentBooked,    refused=ShipmentRefused,  undo=CancelShipment, undone=ShipmentCancelled),
    Pivot("capture",  CapturePayment,   done=PaymentCaptured,   refused=CaptureRefused),
    Step("confirm",   ConfirmOrder,     done=OrderConfirmed),
))
# fmt: on
