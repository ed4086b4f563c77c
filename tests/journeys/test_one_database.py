"""The boundaries are the same where all services share one database, and so is what comes out."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from inventory.models import Reservation
from launcher import environment as environments
from orders.models import Order
from sagas.models import SagaRecord
from tests.databases import Databases, aliases, connected_to
from tests.running_shop import RunningShop

NAME = "single_database"


@pytest.fixture
def shop_with_one_database(
    databases: Databases, committed: None, suite_broker_url: str, tmp_path: Path
) -> Iterator[RunningShop]:
    given = environments.read(Path(os.environ["MAKEGOOD_ENV_FILE"]))
    databases.drop(NAME)
    shop = RunningShop(databases=databases, folder=tmp_path, prefix="unused")
    environment = {
        **shop.environment,
        # Empty, and not left out: this process has read the addresses of the suite's databases, and passes them on.
        **{name: "" for name in shop.environment if name.endswith("_DATABASE_URL")},
        "DATABASE_URL": urlsplit(given["DATABASE_URL"])._replace(path=f"/{NAME}").geturl(),
        "BROKER_URL": suite_broker_url,
    }
    shop.use(environment)
    set_up = shop.manage("set_up", "--demonstration")
    assert set_up.returncode == 0, set_up.stderr
    shop.processes.start()
    try:
        shop.wait_until_ready()
        yield shop
    finally:
        shop.throw_away()
        databases.drop(NAME)
        for name in shop.names.values():
            databases.drop(name)


def test_orders_are_carried_out_where_all_services_share_one_database(
    shop_with_one_database: RunningShop,
) -> None:
    shop = shop_with_one_database

    placed = shop.manage("place_orders", "--count", "30", "--mix", "realistic", "--wait", "120", "--json")

    summary = json.loads(placed.stdout.splitlines()[-1])
    assert (summary["unfinished"], summary["otherwise"]) == (0, [])
    audit = shop.audit()
    assert audit.returncode == 0, audit.stdout
    with connected_to(dict.fromkeys(aliases(), NAME)):
        assert Order.objects.count() == Reservation.objects.count() == SagaRecord.objects.count() == 30
