"""A process killed between any two of its writes: what it was about is done by whoever comes next, once."""

from collections.abc import Iterator

import pytest

from operations.audit import audit
from sagas.models import SagaRecord
from tests.faults.points import ROUNDS
from tests.running_shop import PlacedOrder, RunningShop, wait_until

WANTED = (
    ({"card": "approved"}, "confirmed"),
    ({"card": "flaky"}, "confirmed"),
    ({"card": "declined"}, "cancelled"),
    ({"postcode": "00000"}, "cancelled"),
)
"""Orders, and how each must end: forwards, with failed attempts, and undone."""


@pytest.fixture
def armed(shop: RunningShop) -> Iterator[RunningShop]:
    yield shop
    shop.disarm()


def sagas_are_finished(orders: list[PlacedOrder]) -> bool:
    keys = [str(order.id) for order in orders]
    return SagaRecord.objects.filter(business_key__in=keys, finished_at__isnull=False).count() == len(orders)


@pytest.mark.parametrize("points", ROUNDS, ids=" ".join)
def test_a_process_killed_between_two_writes_loses_and_doubles_nothing(
    armed: RunningShop, points: tuple[str, ...]
) -> None:
    shop = armed
    for point in points:
        shop.arm(point)
    orders: list[PlacedOrder] = []

    def missing() -> list[str]:
        return [point for point in points if not shop.was_reached(point)]

    def reached_or_done() -> bool:
        return not missing() or sagas_are_finished(orders)

    while missing():
        # Whether messages are handled in a batch or alone, and so by which points they come, is a matter of chance.
        assert len(orders) < 150, f"no process comes by {missing()}"
        orders.extend(shop.place_order(**wanted) for wanted, _ in WANTED * 2)
        wait_until(reached_or_done, what=f"processes to come by {points}")
    wait_until(lambda: sagas_are_finished(orders), what=f"the sagas to be finished (see {shop.log_file})")
    shop.settle(*orders)

    assert [order.status for order in orders] == [end for _, end in WANTED] * (len(orders) // len(WANTED))
    for order in orders:
        charged = [charge for charge in shop.charges(order) if charge["captured"]]
        assert len(charged) == (order.status == "confirmed")
    assert audit().violations == []
