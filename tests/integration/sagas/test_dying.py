"""The orchestrator killed as by a power cut, at its worst moments and by a message."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from kombu import Connection

from messaging import topology
from messaging.models import FailedAttempt, OutboxMessage
from sagas.models import SagaRecord
from tests.builders import an_envelope
from tests.integration.sagas.checkout import Checkout
from tests.integration.sagas.process import RestartedProcess

pytestmark = pytest.mark.usefixtures("committed")

LIMIT = 3
NEIGHBOURS = 100


def delete_queues(broker: Connection) -> None:
    for service in topology.services():
        broker.default_channel.queue_delete(service)


@pytest.fixture
def low_limit(broker: Connection, settings: Any) -> Iterator[int]:
    """A broker that gives a message up after few deliveries."""
    settings.DELIVERY_LIMIT = LIMIT
    delete_queues(broker)
    topology.declare(broker)
    yield LIMIT
    delete_queues(broker)


def is_idle(broker: Connection) -> bool:
    return broker.default_channel.queue_declare("sagas", passive=True).message_count == 0


def all_exist(checkouts: list[Checkout]) -> bool:
    return SagaRecord.objects.filter(id__in=[c.id for c in checkouts]).count() == len(checkouts)


@pytest.mark.parametrize("point", ["orchestrator.received", "orchestrator.decided", "orchestrator.committed"])
def test_killed_between_two_writes_it_loses_nothing_and_does_nothing_twice(
    broker, broker_url, publish, eventually, tmp_path: Path, point
):
    checkouts = [Checkout() for _ in range(5)]
    envelopes = [an_envelope(checkout.placed) for checkout in checkouts]
    for checkout, envelope in zip(checkouts, envelopes, strict=True):
        publish(checkout.placed, envelope)
    process = RestartedProcess(
        "manage.py",
        "orchestrator",
        log=tmp_path / "orchestrator.log",
        broker_url=broker_url,
        MAKEGOOD_FAILPOINT=f"{point}:2",
        MAKEGOOD_FAILPOINT_ONCE=str(tmp_path / "killed"),
    )

    def is_done() -> bool:
        process.tend()
        return process.deaths == 1 and all_exist(checkouts) and is_idle(broker)

    try:
        eventually(is_done, timeout=120, every=0.1)
    finally:
        process.stop()

    assert is_idle(broker), "everything is acknowledged"
    assert {tuple(checkout.sent()) for checkout in checkouts} == {("reserve_stock",)}
    commands = OutboxMessage.objects.using("default").filter(
        headers__saga_id__in=[str(checkout.id) for checkout in checkouts]
    )
    assert commands.count() == len(checkouts)
    ids = [envelope.message_id for envelope in envelopes]
    assert not FailedAttempt.objects.using("default").filter(message_id__in=ids).exists()


def test_a_message_that_kills_it_again_and_again_dies_alone_and_its_neighbours_are_handled(
    broker, broker_url, low_limit, publish, eventually, tmp_path: Path
):
    poison = Checkout()
    envelope = an_envelope(poison.placed)
    neighbours = [Checkout() for _ in range(NEIGHBOURS)]
    for neighbour in neighbours[: NEIGHBOURS // 2]:
        publish(neighbour.placed)
    publish(poison.placed, envelope)
    for neighbour in neighbours[NEIGHBOURS // 2 :]:
        publish(neighbour.placed)
    process = RestartedProcess(
        "tests/integration/sagas/poisoned_orchestrator.py",
        log=tmp_path / "orchestrator.log",
        broker_url=broker_url,
        POISON=str(envelope.message_id),
        DELIVERY_LIMIT=str(low_limit),
        PYTHONPATH=".",
    )
    letters: dict[UUID, str] = {}

    def is_done() -> bool:
        process.tend()
        while (letter := broker.default_channel.basic_get("sagas.dead", no_ack=True)) is not None:
            headers = letter.headers
            letters[UUID(headers["message_id"])] = headers["x-death"][0]["reason"]
        return bool(letters) and all_exist(neighbours) and is_idle(broker)

    try:
        eventually(is_done, timeout=240, every=0.1, tell=lambda: f"dead: {letters}")
    finally:
        process.stop()

    assert letters == {envelope.message_id: "delivery_limit"}
    assert process.deaths == low_limit + 1
    assert not SagaRecord.objects.filter(id=poison.id).exists()
    assert {tuple(neighbour.sent()) for neighbour in neighbours} == {("reserve_stock",)}
