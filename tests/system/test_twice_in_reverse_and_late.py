"""Every message is delivered twice, in reverse order and an hour late, and the shop does what it always does."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.processes import RELAY, Process
from notifications.models import Notification
from operations.audit import audit
from operations.mix import of_mix
from orders.services import place_order
from sagas.models import SagaRecord
from tests.databases import Databases
from tests.running_shop import PlacedOrder, RunningShop, used_by_a_test, wait_until


class TwistedShop(RunningShop):
    """A shop whose relay is the twisted one."""

    def table(self, environment: dict[str, str]) -> list[Process]:
        return [
            replace(process, argv=(process.argv[0], "-m", "tests.faults.twisted_relay"))
            if process.name == RELAY
            else process
            for process in super().table(environment)
        ]


@pytest.fixture
def twisted_shop(
    databases: Databases, committed: None, broker_url: str, tmp_path: Path
) -> Iterator[RunningShop]:
    shop = TwistedShop(databases=databases, folder=tmp_path, prefix="twisted")
    shop.use({**shop.environment, "BROKER_URL": broker_url})
    with used_by_a_test(shop):
        try:
            shop.start()
            yield shop
        finally:
            shop.throw_away()
    for name in shop.names.values():
        databases.drop(name)


def test_messages_twice_in_reverse_and_an_hour_late_have_one_effect(twisted_shop: RunningShop) -> None:
    wanted = list(of_mix("realistic", count=60, seed=11))

    orders = [
        PlacedOrder(place_order(one.request, checkout_key=f"twisted-{number}").order_id)
        for number, one in enumerate(wanted)
    ]
    wait_until(
        lambda: SagaRecord.objects.filter(finished_at__isnull=False).count() == len(orders),
        what=f"the sagas to be finished (see {twisted_shop.log_file})",
    )
    twisted_shop.settle(*orders)
    wait_until(lambda: Notification.objects.count() == len(orders), what="the customers to be told")

    assert [order.status for order in orders] == [one.ends for one in wanted]
    assert SagaRecord.objects.count() == len(orders)
    mails = Counter(
        order.id
        for order in orders
        for mail in twisted_shop.emails.iterdir()
        if str(order.id) in mail.read_text()
    )
    assert set(mails.values()) == {1}
    assert audit().violations == []
