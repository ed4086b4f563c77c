"""The broker as the relay and the consumers see it, on the tests' own virtual host."""

from collections.abc import Iterator
from typing import Any

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


@pytest.fixture
def take(broker: Connection):
    """Take every message out of a queue; returns them oldest first."""

    def take_(queue: str) -> list[Any]:
        taken = []
        while (message := broker.default_channel.basic_get(queue, no_ack=True)) is not None:
            taken.append(message)
        return taken

    return take_
