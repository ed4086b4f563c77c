"""A confirmed order that its customer cancels, through real processes."""

import json

from billing.models import Payment
from inventory.models import StockItem
from notifications.models import Notification
from operations.audit import audit
from orders.models import Order
from orders.services import request_cancellation
from sagas.models import SagaRecord
from shipping.models import Shipment
from tests.running_shop import RunningShop, wait_until

RECALL, REFUND, RESTOCK = "shipping.recall_shipment", "billing.refund_payment", "inventory.restock_goods"


def status(order) -> str:
    return Order.objects.get(id=order.id).status


def test_a_cancelled_order_is_paid_back_its_parcel_stopped_and_its_goods_for_sale_again(
    shop: RunningShop,
) -> None:
    before = StockItem.objects.get(sku="mug").on_hand
    order = shop.place_order(sku="mug", quantity=2)
    shop.settle(order)

    assert request_cancellation(order.id)
    assert not request_cancellation(order.id), "a second click begins nothing"
    wait_until(lambda: status(order) == "refunded", what="the order to be refunded")

    (saga,) = SagaRecord.objects.filter(correlation_id=str(order.id), name="refund")
    wait_until(lambda: SagaRecord.objects.get(id=saga.id).status == "completed", what="the saga to end")
    sent = shop.commands(order)
    assert set(sent[5:]) == {RECALL, REFUND, RESTOCK, "orders.refund_order"}
    assert (sent[5], sent[-1]) == (RECALL, "orders.refund_order")
    assert StockItem.objects.get(sku="mug").on_hand == before
    assert Payment.objects.get(order_id=order.id).state == "refunded"
    assert Shipment.objects.get(order_id=order.id).state == "recalled"
    (charge,) = shop.charges(order)
    assert (charge["captured"], charge["refunded"]) == (2500, 2500)
    wait_until(
        lambda: Notification.objects.filter(order_id=order.id, kind="refunded").exists(), what="the e-mail"
    )
    assert [line for line in audit().violations if str(order.id) in line] == []


def test_an_order_whose_parcel_has_left_stays_confirmed(shop: RunningShop) -> None:
    order = shop.place_order(sku="mug", postcode="99999")
    shop.settle(order)

    assert request_cancellation(order.id)
    wait_until(
        lambda: Order.objects.get(id=order.id).reason == "shipment_left",
        what="the cancellation to be refused",
    )

    assert status(order) == "confirmed"
    assert Payment.objects.get(order_id=order.id).state == "captured"
    assert Shipment.objects.get(order_id=order.id).state == "left"
    wait_until(
        lambda: Notification.objects.filter(order_id=order.id, kind="refused").exists(), what="the e-mail"
    )
    assert [line for line in audit().violations if str(order.id) in line] == []


def test_what_customers_cancel_of_a_realistic_load_is_refunded_and_nothing_is_left_of_it(
    shop: RunningShop,
) -> None:
    options = ("--mix", "realistic", "--seed", "7", "--cancel-share", "0.5", "--wait", "120", "--json")

    placed = shop.manage("place_orders", "--count", "40", *options)

    assert placed.returncode == 0, placed.stdout + placed.stderr
    summary = json.loads(placed.stdout)
    assert summary["expected_refunded"] > 5
    for status in ("confirmed", "cancelled", "refunded"):
        assert summary[status] == summary[f"expected_{status}"]
    assert summary["otherwise"] == []
    wait_until(
        lambda: not SagaRecord.objects.filter(finished_at__isnull=True).exists(), what="the sagas to end"
    )
    assert shop.audit().returncode == 0, shop.audit().stdout
