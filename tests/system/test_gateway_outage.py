"""A gateway that is down for a while is left alone while its messages wait; then every order ends as it must."""

import json
import sys
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db.models import Max

from messaging.envelope import utc_now
from messaging.models import CircuitBreaker, FailedAttempt, OutboxMessage
from orders.models import Order
from sagas.models import SagaRecord
from tests.databases import Databases
from tests.running_shop import PlacedOrder, RunningShop, used_by_a_test, wait_until

FAILURES, FIRST_PAUSE, LONGEST_PAUSE = 5, 0.25, 2.0
OUTAGE = timedelta(seconds=20)
CALLS_UNDER_WAY = 32
"""No more calls than this are on their way when the breaker opens, whatever the machine."""


@pytest.fixture
def patient_shop(
    databases: Databases, committed: None, broker_url: str, tmp_path: Path
) -> Iterator[RunningShop]:
    """A shop whose sagas wait for longer than any outage here, and whose gateways are probed every few seconds."""
    shop = RunningShop(databases=databases, folder=tmp_path, prefix="patient")
    shop.use(
        {
            **shop.environment,
            "BROKER_URL": broker_url,
            "STEP_DEADLINE": "600",
            "BREAKER_FAILURES": str(FAILURES),
            "BREAKER_FIRST_PAUSE": str(FIRST_PAUSE),
            "BREAKER_LONGEST_PAUSE": str(LONGEST_PAUSE),
        }
    )
    with used_by_a_test(shop):
        try:
            shop.start()
            yield shop
        finally:
            shop.throw_away()
    for name in shop.names.values():
        databases.drop(name)


def set_faults(shop: RunningShop, **faults: float) -> None:
    request = urllib.request.Request(
        f"{shop.gateway_url}/v1/faults", data=json.dumps(faults).encode(), method="PUT"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer)["outage_rate"] == faults.get("outage_rate", 0)


def breaker() -> CircuitBreaker | None:
    return CircuitBreaker.objects.using(settings.SERVICES["billing"]).filter(service="billing").first()


def is_open() -> bool:
    row = breaker()
    return row is not None and row.state == "open"


def waiting() -> int:
    rows = OutboxMessage.objects.using(settings.SERVICES["billing"])
    return rows.filter(service="billing", waits_for="payment gateway").count()


def held_back() -> int:
    """The sagas that wait before the step: the breaker has set a pause switch for its service."""
    return SagaRecord.objects.filter(is_withheld=True).count()


def test_sixty_orders_outlast_a_gateway_that_is_down(patient_shop: RunningShop, capsys) -> None:
    shop = patient_shop
    set_faults(shop, outage_rate=1)
    mended_at = utc_now() + OUTAGE
    orders = [shop.place_order(card="declined" if number % 10 == 0 else "approved") for number in range(60)]
    wait_until(is_open, what="the breaker to open")
    wait_until(
        lambda: waiting() + held_back() >= 30, what="messages and sagas to wait for the payment gateway"
    )
    wait_until(lambda: utc_now() >= mended_at, what="the end of the outage")
    asked = breaker().failures
    attempts = FailedAttempt.objects.using(settings.SERVICES["billing"]).filter(consumer="billing")
    burnt = attempts.count()

    set_faults(shop)
    wait_until(lambda: not is_open(), what="a probe to find the gateway well")
    wait_until(
        lambda: not Order.objects.filter(id__in=[order.id for order in orders], status="pending").exists(),
        what="the orders to be finished",
    )
    wait_until(
        lambda: not SagaRecord.objects.filter(finished_at__isnull=True).exists(), what="the sagas' end"
    )
    shop.settle(*orders)

    most_probes = OUTAGE.total_seconds() / LONGEST_PAUSE + 10
    assert FAILURES <= asked <= CALLS_UNDER_WAY + most_probes, "the gateway was left alone"
    assert burnt <= FAILURES, "only the failures that opened the breaker counted as attempts"
    assert attempts.filter(next_attempt_at=None).count() == 0, "no message became a dead letter"
    highest = attempts.aggregate(highest=Max("attempt"))["highest"]
    assert highest < settings.RETRY_ATTEMPTS
    assert [ending(order) for order in orders] == [
        ("cancelled", "card_declined") if number % 10 == 0 else ("confirmed", "") for number in range(60)
    ]
    audit = shop.audit()
    assert audit.returncode == 0, audit.stdout
    with capsys.disabled():
        sys.stdout.write(f"\n{asked} calls in an outage of {OUTAGE.seconds} s, {burnt} attempts burnt\n")
    assert "answers again, after" in shop.log_file.read_text()


def ending(order: PlacedOrder) -> tuple[str, str]:
    return order.status, order.reason


def test_a_worker_killed_while_the_breaker_is_open_loses_nothing(patient_shop: RunningShop) -> None:
    shop = patient_shop
    set_faults(shop, outage_rate=1)
    orders = [shop.place_order() for _ in range(20)]
    wait_until(is_open, what="the breaker to open")
    for _ in range(3):
        killed = shop.processes.kill("billing-worker")
        shop.processes.wait_for_new("billing-worker", after=killed)
    shop.wait_until_ready()

    set_faults(shop)
    wait_until(
        lambda: not Order.objects.filter(id__in=[order.id for order in orders], status="pending").exists(),
        what="the orders to be finished",
    )
    shop.settle(*orders)

    assert {order.status for order in orders} == {"confirmed"}
    assert all(len(shop.charges(order)) == 1 for order in orders)
    audit = shop.audit()
    assert audit.returncode == 0, audit.stdout
