"""The operator's commands on the run's databases and the tests' own virtual host."""

from collections.abc import Iterator

import pytest
from kombu import Connection

from messaging import topology
from messaging.models import IdempotencyKey, KeyRetention
from tests.integration.operations.old_keys import DAYS, LIMIT, SERVICE


@pytest.fixture
def broker(broker_url: str) -> Iterator[Connection]:
    """A connection to a broker that has the topology and no messages."""
    with Connection(broker_url, connect_timeout=5) as connection:
        for queue in topology.declare(connection):
            connection.default_channel.queue_purge(queue)
        yield connection


@pytest.fixture
def long_retention(committed, settings):
    """Nothing younger than `LIMIT` is pruned here, and the limits are gone afterwards."""
    for name in ("KEY", "FAILURE", "LETTER", "REQUEST", "RESULT"):
        setattr(settings, f"{name}_RETENTION_DAYS", DAYS)
    settings.PRUNE_BATCH = 10
    yield
    for service, database in settings.SERVICES.items():
        KeyRetention.objects.using(database).filter(service=service).delete()
    IdempotencyKey.objects.using(settings.SERVICES[SERVICE]).filter(
        consumer=SERVICE, claimed_at__lte=LIMIT
    ).delete()
