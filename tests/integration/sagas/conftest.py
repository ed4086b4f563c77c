"""The orchestrator in a thread of this process, on the tests' own virtual host."""

import threading
from collections.abc import Callable, Iterator

import msgspec
import pytest
from kombu import Connection

from contracts.message import Command, Message
from messaging import topology
from messaging.envelope import Envelope
from messaging.publishing import Publisher, Wire
from sagas import registry, upgrading, version_checks
from sagas.definition import Saga
from sagas.orchestrator import Orchestrator
from tests.builders import an_envelope
from tests.integration.sagas.checkout import Checkout


@pytest.fixture
def checkout() -> Checkout:
    return Checkout()


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Another release: these definitions instead of the shop's own."""

    def these(*definitions: Saga) -> None:
        known = {(saga.name, saga.version): saga for saga in definitions}
        for module in (registry, upgrading, version_checks):
            monkeypatch.setattr(module, "DEFINITIONS", known)
        newest = {saga.name: saga for saga in sorted(definitions, key=lambda saga: saga.version)}
        monkeypatch.setattr(registry, "_NEWEST", tuple(newest.values()))

    return these


@pytest.fixture
def broker(broker_url: str) -> Iterator[Connection]:
    """A connection to a broker that has the topology and no messages."""
    with Connection(broker_url, connect_timeout=5) as connection:
        for queue in topology.declare(connection):
            connection.default_channel.queue_purge(queue)
        yield connection


@pytest.fixture
def start_orchestrator(broker: Connection, broker_url: str) -> Iterator[Callable[..., None]]:
    stop, threads, errors = threading.Event(), [], []

    def start(*, batch_size: int = 50) -> None:
        orchestrator = Orchestrator(broker_url=broker_url, batch_size=batch_size, stop=stop)

        def run() -> None:
            try:
                orchestrator.run()
            except BaseException as error:
                errors.append(error)

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join(timeout=20)
    assert errors == []
    assert not any(thread.is_alive() for thread in threads)


@pytest.fixture
def publish(broker_url: str, broker: Connection) -> Iterator[Callable[..., None]]:
    """Publish as the relay does; `body` replaces the message's own."""
    publisher = Publisher(broker_url)
    publisher.connect()

    def publish_(message: Message, envelope: Envelope | None = None, *, body: str | None = None) -> None:
        envelope = envelope or an_envelope(message)
        payload = message.to_payload()
        wire = Wire(
            tag=1,
            message_id=str(envelope.message_id),
            correlation_id=envelope.correlation_id,
            exchange=topology.COMMANDS if isinstance(message, Command) else topology.EVENTS,
            routing_key=type(message).routing_key(),
            headers=envelope.to_headers(),
            body=body if body is not None else msgspec.json.encode([[payload], {}, {}]).decode(),
        )
        assert publisher.publish([wire], wait=10).confirmed == [1]

    yield publish_
    publisher.close()
