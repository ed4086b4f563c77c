"""The operator's commands on the run's databases and the tests' own virtual host."""

from collections.abc import Iterator

import pytest
from kombu import Connection

from messaging import topology


@pytest.fixture
def broker(broker_url: str) -> Iterator[Connection]:
    """A connection to a broker that has the topology and no messages."""
    with Connection(broker_url, connect_timeout=5) as connection:
        for queue in topology.declare(connection):
            connection.default_channel.queue_purge(queue)
        yield connection
