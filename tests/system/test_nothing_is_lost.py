"""Whatever is killed, stopped or restarted in the middle: no order is lost, left half done or charged twice."""

import os
import signal
import subprocess

from inventory.models import Reservation
from tests.running_shop import RunningShop, wait_until

ORDERS = ("--count", "90", "--mix", "realistic")


def assert_all_went_well(shop: RunningShop, summary: dict) -> None:
    """Every order is finished in the way that its card, goods and address make inevitable, and the audit agrees."""
    assert summary["unfinished"] == 0
    assert summary["otherwise"] == []
    assert (summary["confirmed"], summary["cancelled"]) == (
        summary["expected_confirmed"],
        summary["expected_cancelled"],
    )
    shop.settle()
    wait_until(
        lambda: not Reservation.objects.filter(state="held").exists(),
        what="the goods of confirmed orders to be sold",
    )
    audit = shop.audit()
    assert audit.returncode == 0, audit.stdout


def children_of(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(child) for child in found.stdout.split()]


def test_three_hundred_orders_end_as_they_must(shop: RunningShop) -> None:
    with shop.placing("--count", "300", "--mix", "realistic", "--seed", "7") as summary:
        pass

    assert_all_went_well(shop, summary)


def test_killing_a_process_loses_nothing(shop: RunningShop) -> None:
    with shop.placing("--count", "300", "--mix", "realistic") as summary:
        for name in ("billing-worker", "inventory-worker", "relay", "orchestrator", "collector"):
            killed = shop.processes.kill(name)
            shop.processes.wait_for_new(name, after=killed)

    assert_all_went_well(shop, summary)


def test_killing_a_workers_child_in_the_middle_loses_nothing(shop: RunningShop) -> None:
    with shop.placing(*ORDERS) as summary:
        worker = shop.processes.pid("billing-worker")
        assert worker is not None
        before = children_of(worker)
        os.kill(before[-1], signal.SIGKILL)
        wait_until(lambda: set(children_of(worker)) - set(before), what="the pool to replace its child")

    assert_all_went_well(shop, summary)


def test_a_broker_that_is_stopped_and_started_loses_nothing(shop: RunningShop) -> None:
    with shop.placing(*ORDERS) as summary:
        shop.servers.rabbitmq.stop()
        shop.servers.rabbitmq.start()

    assert_all_went_well(shop, summary)


def test_a_database_server_that_is_restarted_loses_nothing(shop: RunningShop) -> None:
    with shop.placing(*ORDERS) as summary:
        shop.servers.postgres.restart()
        shop.reconnect()

    assert_all_went_well(shop, summary)


def test_orders_are_accepted_while_everything_else_is_down(shop: RunningShop) -> None:
    down = [name for name in shop.processes.names if name != "web"]
    shop.processes.stop(*down)
    shop.servers.rabbitmq.stop()
    try:
        orders = [shop.order_by_api() for _ in range(5)]
        assert {order.status for order in orders} == {"pending"}
    finally:
        shop.servers.rabbitmq.start()
        shop.processes.start(*down)

    shop.wait_until_ready()
    shop.settle(*orders)

    assert {order.status for order in orders} == {"confirmed"}
