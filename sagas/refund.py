"""The refund: a confirmed order that its customer cancels, unless the parcel has left."""

from contracts.billing import PaymentRefunded, RefundPayment
from contracts.inventory import GoodsRestocked, RestockGoods
from contracts.orders import (
    CancellationRefused,
    CancellationRequested,
    OrderRefunded,
    RefundOrder,
    RefuseCancellation,
)
from contracts.shipping import RecallShipment, ShipmentLeft, ShipmentRecalled
from sagas.definition import Pivot, Saga, Step

# fmt: off
REFUND = Saga("refund", version=1, starts=CancellationRequested, unique_by="request_id", steps=(
    Step("request", undo=RefuseCancellation, undone=CancellationRefused),
    Pivot("recall", RecallShipment,          done=ShipmentRecalled, refused=ShipmentLeft),
    Step("refund",  RefundPayment,           done=PaymentRefunded,  after=("recall",)),
    Step("restock", RestockGoods,            done=GoodsRestocked,   after=("recall",)),
    Step("close",   RefundOrder,             done=OrderRefunded,    after=("refund", "restock")),
))
# fmt: on
