"""The definitions that have been released, as running sagas depend on them, by name and version.

A definition may be worded anew; what stands here of it changes only under a new version.
`manage.py sagas shapes --write` adds what is not listed yet and overwrites nothing.
"""

from sagas.definition import Outline

SHAPES: dict[tuple[str, int], Outline] = {
    ("checkout", 1): {
        "": {
            "starts": "orders.order_placed.v1",
            "unique_by": "order_id",
        },
        "place": {
            "kind": "Step",
            "after": "",
            "undo": "orders.cancel_order.v1",
            "undone": "orders.order_cancelled.v1",
            "exhausted": "hold",
        },
        "reserve": {
            "kind": "Step",
            "after": "place",
            "command": "inventory.reserve_stock.v1",
            "done": "inventory.stock_reserved.v1",
            "refused": "inventory.stock_unavailable.v1",
            "undo": "inventory.release_stock.v1",
            "undone": "inventory.stock_released.v1",
            "exhausted": "compensate",
        },
        "authorize": {
            "kind": "Step",
            "after": "reserve",
            "command": "billing.authorize_payment.v1",
            "done": "billing.payment_authorized.v1",
            "refused": "billing.payment_declined.v1",
            "undo": "billing.void_payment.v1",
            "undone": "billing.payment_voided.v1",
            "exhausted": "hold",
        },
        "ship": {
            "kind": "Step",
            "after": "authorize",
            "command": "shipping.book_shipment.v1",
            "done": "shipping.shipment_booked.v1",
            "refused": "shipping.shipment_refused.v1",
            "undo": "shipping.cancel_shipment.v1",
            "undone": "shipping.shipment_cancelled.v1",
            "exhausted": "hold",
        },
        "capture": {
            "kind": "Pivot",
            "after": "ship",
            "command": "billing.capture_payment.v1",
            "done": "billing.payment_captured.v1",
            "refused": "billing.capture_refused.v1",
            "exhausted": "hold",
        },
        "confirm": {
            "kind": "Step",
            "after": "capture",
            "command": "orders.confirm_order.v1",
            "done": "orders.order_confirmed.v1",
            "exhausted": "hold",
        },
    },
    ("refund", 1): {
        "": {
            "starts": "orders.cancellation_requested.v1",
            "unique_by": "request_id",
        },
        "request": {
            "kind": "Step",
            "after": "",
            "undo": "orders.refuse_cancellation.v1",
            "undone": "orders.cancellation_refused.v1",
            "exhausted": "hold",
        },
        "recall": {
            "kind": "Pivot",
            "after": "request",
            "command": "shipping.recall_shipment.v1",
            "done": "shipping.shipment_recalled.v1",
            "refused": "shipping.shipment_left.v1",
            "exhausted": "hold",
        },
        "refund": {
            "kind": "Step",
            "after": "recall",
            "command": "billing.refund_payment.v1",
            "done": "billing.payment_refunded.v1",
            "exhausted": "hold",
        },
        "restock": {
            "kind": "Step",
            "after": "recall",
            "command": "inventory.restock_goods.v1",
            "done": "inventory.goods_restocked.v1",
            "exhausted": "hold",
        },
        "close": {
            "kind": "Step",
            "after": "refund restock",
            "command": "orders.refund_order.v1",
            "done": "orders.order_refunded.v1",
            "exhausted": "hold",
        },
    },
}
