"""The broker as the relay and the consumers see it, on the tests' own virtual host."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from kombu import Connection

from contracts.billing import AuthorizePayment, FindAuthorization, VoidPayment
from messaging import topology
from messaging.handling import handlers_of
from tests.integration.gateway_double import GatewayDouble
from tests.integration.messaging.asked import Step
from tests.integration.messaging.breakers import MOST, Authorization, Breaker, no_answer
from tests.integration.messaging.ordered_consumer import OrderedConsumer


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


@pytest.fixture
def circuit(monkeypatch: pytest.MonkeyPatch) -> Breaker:
    """Billing's handlers, with a gateway of a name of its own."""
    name = f"gateway {uuid4().hex[:8]}"
    for message_type in (AuthorizePayment, FindAuthorization, VoidPayment):
        declared = handlers_of("billing")[message_type.wire_type]
        own = msgspec.structs.replace(declared, gateway=name)
        monkeypatch.setitem(handlers_of("billing"), message_type.wire_type, own)
    return Breaker(name)


@pytest.fixture
def open_circuit(circuit: Breaker, gateway: GatewayDouble) -> Iterator[Breaker]:
    """The breaker, opened by as many failures as that takes. The gateway is well again, which nobody knows yet."""
    gateway.before_answer += [no_answer] * MOST
    for _ in range(MOST):
        Authorization().deliver()
    assert circuit.is_open
    gateway.calls.clear()
    yield circuit


@pytest.fixture
def consumer(committed, monkeypatch) -> OrderedConsumer:
    return OrderedConsumer(monkeypatch)


@pytest.fixture
def step() -> Step:
    return Step()
