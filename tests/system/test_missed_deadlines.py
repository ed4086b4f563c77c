"""A service that does not answer in time: the order is undone without it, and what it does too late is undone too."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from billing.models import Payment
from inventory.models import StockItem
from sagas.models import SagaRecord, StepRecord
from shipping.models import Shipment
from tests.databases import Databases
from tests.running_shop import PlacedOrder, RunningShop, used_by_a_test, wait_until

SLOW = "shipping-worker"


@pytest.fixture
def impatient_shop(
    databases: Databases, committed: None, broker_url: str, tmp_path: Path
) -> Iterator[RunningShop]:
    """A shop that gives every step two seconds."""
    shop = RunningShop(databases=databases, folder=tmp_path, prefix="impatient")
    shop.use({**shop.environment, "BROKER_URL": broker_url, "STEP_DEADLINE": "2", "STEP_REPEAT_LONGEST": "2"})
    with used_by_a_test(shop):
        try:
            shop.start()
            yield shop
        finally:
            shop.throw_away()
    for name in shop.names.values():
        databases.drop(name)


def is_cancelled(order: PlacedOrder) -> bool:
    return order.status == "cancelled"


def test_orders_are_undone_without_the_service_that_is_away_and_what_it_does_too_late_is_undone(
    impatient_shop: RunningShop,
) -> None:
    shop = impatient_shop
    before = StockItem.objects.get(sku="mug").on_hand
    shop.processes.stop(SLOW)

    orders = [shop.place_order() for _ in range(5)]
    wait_until(lambda: all(map(is_cancelled, orders)), what="the customers to be told, shipping or not")

    assert {order.reason for order in orders} == {"step_overdue"}
    assert StockItem.objects.get(sku="mug").on_hand == before
    ids = [order.id for order in orders]
    assert set(Payment.objects.filter(order_id__in=ids).values_list("state", flat=True)) == {"voided"}
    assert SagaRecord.objects.filter(finished_at__isnull=True).count() == 5, "the parcels are not forgotten"
    assert set(StepRecord.objects.filter(name="ship").values_list("status", flat=True)) == {"undoing"}

    shop.processes.start(SLOW)
    wait_until(
        lambda: not SagaRecord.objects.filter(finished_at__isnull=True).exists(), what="the sagas' end"
    )
    shop.settle(*orders)

    assert not Shipment.objects.filter(order_id__in=ids, state="booked").exists()
    audit = shop.audit()
    assert audit.returncode == 0, audit.stdout


def test_a_lost_answer_is_asked_for_and_the_order_goes_on(impatient_shop: RunningShop) -> None:
    """The gateway holds the money at once and its answer is lost: nobody gives the order up while it can be asked."""
    shop = impatient_shop

    order = shop.place_order(card="tok_executes_then_times_out")
    wait_until(lambda: order.status != "pending", what="the order to be finished")
    shop.settle(order)

    assert order.status == "confirmed"
    assert "billing.find_authorization" in shop.commands(order)
    assert [(charge["status"], charge["captured"]) for charge in shop.charges(order)] == [("captured", 1250)]
    audit = shop.audit()
    assert audit.returncode == 0, audit.stdout
