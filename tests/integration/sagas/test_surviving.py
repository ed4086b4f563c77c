"""What the orchestrator outlives: sessions, sockets and channels that end in the middle, and bytes nobody can read."""

import socket
import threading
from collections.abc import Callable
from typing import Any

import amqp
import pytest
from django.db import connections
from kombu import Connection

from messaging.models import FailedAttempt
from sagas import orchestrator, records
from sagas.models import SagaRecord
from sagas.orchestrator import Orchestrator
from tests.builders import an_envelope
from tests.integration.sagas.checkout import Checkout

pytestmark = pytest.mark.usefixtures("committed")


def exists(*checkouts: Checkout) -> bool:
    return SagaRecord.objects.filter(id__in=[c.id for c in checkouts]).count() == len(checkouts)


def once(action: Callable[..., None]) -> Callable[..., None]:
    done: list[bool] = []

    def act(*arguments: Any) -> None:
        if not done:
            done.append(True)
            action(*arguments)

    return act


def test_a_session_killed_in_the_middle_of_a_transaction_is_no_attempt(
    start_orchestrator, publish, eventually, monkeypatch
):
    lock = records.lock

    @once
    def end_own_session() -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    def killed(ids: Any, **more: Any) -> Any:
        end_own_session()
        return lock(ids, **more)

    monkeypatch.setattr(records, "lock", killed)
    checkouts = [Checkout() for _ in range(5)]
    envelopes = [an_envelope(checkout.placed) for checkout in checkouts]
    for checkout, envelope in zip(checkouts, envelopes, strict=True):
        publish(checkout.placed, envelope)
    start_orchestrator()

    eventually(lambda: exists(*checkouts))

    assert {tuple(checkout.sent()) for checkout in checkouts} == {("reserve_stock",)}
    ids = [envelope.message_id for envelope in envelopes]
    assert not FailedAttempt.objects.using("default").filter(message_id__in=ids).exists()


def cut_the_socket(channel: Any) -> None:
    channel.connection.sock.shutdown(socket.SHUT_RDWR)


def acknowledge_nonsense(channel: Any) -> None:
    """The broker closes a channel that acknowledges what it has not been given."""
    channel.basic_ack(delivery_tag=1_000_000)


@pytest.mark.parametrize("damage", [cut_the_socket, acknowledge_nonsense])
@pytest.mark.parametrize("when", ["before the commit", "after the commit"])
def test_what_was_not_acknowledged_on_a_broken_connection_is_delivered_again_and_counts_once(
    start_orchestrator, publish, eventually, monkeypatch, damage, when
):
    handle = Orchestrator._handle
    break_it = once(damage)

    def handle_and_break(self: Orchestrator, batch: list[Any]) -> None:
        if when == "before the commit":
            break_it(batch[0].message.channel)
        handle(self, batch)
        break_it(batch[0].message.channel)

    monkeypatch.setattr(Orchestrator, "_handle", handle_and_break)
    checkouts = [Checkout() for _ in range(5)]
    for checkout in checkouts:
        publish(checkout.placed)
    start_orchestrator()
    eventually(lambda: exists(*checkouts))
    last = Checkout()

    publish(last.placed)

    eventually(lambda: exists(last))
    assert {tuple(checkout.sent()) for checkout in (*checkouts, last)} == {("reserve_stock",)}


def test_a_message_that_the_client_library_cannot_read_becomes_a_dead_letter_and_holds_up_nobody_for_long(
    start_orchestrator, publish, broker: Connection, eventually
):
    """Its message id is no UTF-8, so reading it off the wire fails before there is a message to reject."""
    before, after = Checkout(), Checkout()
    publish(before.placed)
    broker.default_channel.basic_publish(
        amqp.Message("[]", content_type="application/json", message_id=b"\xff\xfe", delivery_mode=2),
        exchange="",
        routing_key="sagas",
    )
    publish(after.placed)

    start_orchestrator()

    eventually(lambda: exists(before, after), timeout=120)

    def is_dead() -> bool:
        return broker.default_channel.queue_declare("sagas.dead", passive=True).message_count == 1

    eventually(is_dead)
    broker.default_channel.queue_purge("sagas.dead")


def test_a_message_that_was_delivered_before_is_handled_alone_after_its_neighbours(
    start_orchestrator, publish, broker: Connection, broker_url, eventually, monkeypatch
):
    batches: list[list[object]] = []
    may_go_on, is_waiting = threading.Event(), threading.Event()
    handle_batch = orchestrator.handle_batch

    def noted(batch: list[Any]) -> None:
        batches.append([incoming.envelope.message_id for incoming in batch])
        if len(batches) == 2:  # the intake is open now
            is_waiting.set()
            assert may_go_on.wait(60)
        handle_batch(batch)

    monkeypatch.setattr(orchestrator, "handle_batch", noted)
    suspect, first, second = Checkout(), Checkout(), Checkout()
    neighbours = [Checkout() for _ in range(10)]
    suspect_envelope = an_envelope(suspect.placed)
    publish(suspect.placed, suspect_envelope)
    with Connection(broker_url) as other:
        assert eventually(lambda: other.default_channel.basic_get("sagas")) is not None
        start_orchestrator()
        publish(first.placed)
        publish(second.placed)
        assert is_waiting.wait(60)
        for neighbour in neighbours[:5]:
            publish(neighbour.placed)
    # The other consumer has ended without an answer.
    for neighbour in neighbours[5:]:
        publish(neighbour.placed)
    may_go_on.set()

    eventually(lambda: exists(suspect, first, second, *neighbours))

    assert [batch for batch in batches if suspect_envelope.message_id in batch] == [
        [suspect_envelope.message_id]
    ]
    assert any(len(batch) > 1 for batch in batches), "the others share a transaction"
