"""What the orders service reacts to."""

from contracts.billing import (
    CaptureRefused,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentVoided,
)
from contracts.inventory import GoodsRestocked, StockReleased, StockReserved, StockUnavailable
from contracts.message import Event
from contracts.orders import CancelOrder, ConfirmOrder, RefundOrder, RefuseCancellation
from contracts.shipping import (
    ShipmentBooked,
    ShipmentCancelled,
    ShipmentLeft,
    ShipmentRecalled,
    ShipmentRefused,
)
from messaging.handling import handles
from messaging.policies import RetryPolicy
from orders import services
from orders.models import OrderStep

BATCH = 50
"""So many messages may share a transaction: each changes rows of its own order only."""

_Name, _State = OrderStep.Name, OrderStep.State

PROGRESS = {
    StockReserved: (_Name.RESERVE, _State.DONE),
    StockUnavailable: (_Name.RESERVE, _State.REFUSED),
    StockReleased: (_Name.RESERVE, _State.UNDONE),
    PaymentAuthorized: (_Name.AUTHORIZE, _State.DONE),
    PaymentDeclined: (_Name.AUTHORIZE, _State.REFUSED),
    PaymentVoided: (_Name.AUTHORIZE, _State.UNDONE),
    ShipmentBooked: (_Name.SHIP, _State.DONE),
    ShipmentRefused: (_Name.SHIP, _State.REFUSED),
    ShipmentCancelled: (_Name.SHIP, _State.UNDONE),
    PaymentCaptured: (_Name.CAPTURE, _State.DONE),
    CaptureRefused: (_Name.CAPTURE, _State.REFUSED),
    ShipmentRecalled: (_Name.RECALL, _State.DONE),
    ShipmentLeft: (_Name.RECALL, _State.REFUSED),
    PaymentRefunded: (_Name.REFUND, _State.DONE),
    GoodsRestocked: (_Name.RESTOCK, _State.DONE),
}
"""What each event of another service means for the order's progress."""


@handles(ConfirmOrder, batch=BATCH)
def confirm_order(command: ConfirmOrder) -> Event:
    return services.confirm(command.order_id)


@handles(CancelOrder, batch=BATCH, retry=RetryPolicy(attempts=20, longest_pause=60))
def cancel_order(command: CancelOrder) -> Event:
    return services.cancel(command.order_id, reason=command.reason)


@handles(RefuseCancellation, batch=BATCH, retry=RetryPolicy(attempts=20, longest_pause=60))
def refuse_cancellation(command: RefuseCancellation) -> Event:
    return services.refuse_cancellation(command.order_id, reason=command.reason)


@handles(RefundOrder, batch=BATCH, retry=RetryPolicy(attempts=20, longest_pause=60))
def refund_order(command: RefundOrder) -> Event:
    return services.refund(command.order_id)


def _record_progress(event: Event) -> None:
    step, state = PROGRESS[type(event)]
    services.record_progress(event.order_id, step=step, state=state)


for _event_type in PROGRESS:
    handles(_event_type, batch=BATCH)(_record_progress)
