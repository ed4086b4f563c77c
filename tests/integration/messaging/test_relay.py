"""From the outbox to the broker, at least once, and one bad row holds up no other."""

import json
import threading
from collections import Counter
from datetime import timedelta
from uuid import UUID, uuid4

import psycopg2
import pytest
from django.conf import settings
from django.db import connections, transaction

from contracts.message import Message
from contracts.orders import ConfirmOrder
from messaging import outbox_rows
from messaging.envelope import utc_now
from messaging.models import OutboxMessage
from messaging.outbox_rows import OutgoingMessage
from messaging.publishing import Publisher
from messaging.relay import Relay
from messaging.unit_of_work import unit_of_work
from tests.builders import an_envelope

pytestmark = pytest.mark.usefixtures("committed", "broker")
ORDERS = settings.SERVICES["orders"]


@pytest.fixture(autouse=True)
def empty_outbox(committed) -> None:
    """Other tests leave rows behind, which no relay has served."""
    OutboxMessage.objects.using(ORDERS).all().delete()


class RunningRelay:
    """A relay in a thread of this process."""

    def __init__(self, broker_url: str) -> None:
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self._relay = Relay(database=ORDERS, broker_url=broker_url, stop=self.stop)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._relay.run()
        except BaseException as error:
            self.error = error
            self._relay._close()  # as the operating system does with a killed process

    def end(self) -> None:
        self.stop.set()
        self._thread.join(timeout=20)
        assert not self._thread.is_alive()

    def join(self) -> None:
        self._thread.join(timeout=20)


@pytest.fixture
def start_relay(broker_url, broker):
    running: list[RunningRelay] = []

    def start() -> RunningRelay:
        running.append(RunningRelay(broker_url))
        return running[-1]

    yield start
    for relay in running:
        relay.end()


def write(*messages: Message, **more: object) -> list[UUID]:
    """Put commands for the orders service in its outbox; returns their message ids."""
    with unit_of_work("orders") as work:
        envelopes = [work.send(message) for message in messages]
        for position, outgoing in enumerate(work.outgoing):
            changed = {name: getattr(outgoing, name) for name in outgoing.__struct_fields__} | more
            work.outgoing[position] = OutgoingMessage(**changed)
    return [envelope.message_id for envelope in envelopes]


def commands(count: int = 1) -> list[Message]:
    return [ConfirmOrder(order_id=uuid4()) for _ in range(count)]


def waiting() -> list[OutboxMessage]:
    return list(OutboxMessage.objects.using(ORDERS).order_by("id"))


def is_empty() -> bool:
    return not waiting()


def test_a_committed_message_reaches_its_queue_and_its_row_is_gone(start_relay, take, eventually):
    start_relay()
    command = ConfirmOrder(order_id=uuid4())
    (message_id,) = write(command)

    eventually(is_empty)

    (message,) = take("orders")
    assert message.headers["task"] == message.headers["type"] == "orders.confirm_order.v1"
    assert message.headers["id"] == message.headers["message_id"] == str(message_id)
    assert json.loads(message.body) == [[{"order_id": str(command.order_id)}], {}, {}]
    assert message.properties["delivery_mode"] == 2


def test_messages_keep_their_order(start_relay, take, eventually):
    ids = write(*commands(450))
    start_relay()

    eventually(is_empty)

    assert [message.headers["id"] for message in take("orders")] == [str(one) for one in ids]


def test_a_message_due_later_waits_for_its_time(start_relay, take, eventually):
    (later,) = write(*commands(), available_at=utc_now() + timedelta(hours=1))
    (soon,) = write(*commands(), available_at=utc_now() + timedelta(milliseconds=300))
    start_relay()

    eventually(lambda: [row.message_id for row in waiting()] == [later])

    assert [message.headers["id"] for message in take("orders")] == [str(soon)]


def test_an_unroutable_message_stays_with_its_error_and_holds_up_no_other(start_relay, take, eventually):
    (lost,) = write(*commands(), routing_key="nobody.listens")
    others = write(*commands(5))
    start_relay()

    eventually(lambda: [row.message_id for row in waiting()] == [lost])

    (row,) = waiting()
    assert "no queue takes it: exchange 'commands', routing key 'nobody.listens'" in row.last_error
    assert row.failures >= 1
    assert row.available_at > row.created_at, "it is tried again later"
    assert len(take("orders")) == len(others)


def test_a_message_to_two_queues_of_which_one_is_missing_reaches_the_other(start_relay, take, eventually):
    (message_id,) = write(*commands(), exchange="", routing_key="no-such-queue")
    rows = OutboxMessage.objects.using(ORDERS)
    lost = rows.get(message_id=message_id)
    there = OutboxMessage(
        **{
            field.attname: getattr(lost, field.attname)
            for field in OutboxMessage._meta.concrete_fields
            if not field.primary_key
        }
    )
    there.routing_key = "orders"
    there.save(using=ORDERS)
    relay = start_relay()

    eventually(lambda: [row.routing_key for row in waiting()] == ["no-such-queue"] and waiting()[0].failures)
    relay.end()
    assert [message.properties["message_id"] for message in take("orders")] == [str(message_id)]


def test_an_unreadable_row_stays_with_its_error_and_holds_up_no_other(start_relay, take, eventually):
    (bad,) = write(*commands())
    OutboxMessage.objects.using(ORDERS).filter(message_id=bad).update(headers={"type": 1})
    write(*commands())
    start_relay()

    eventually(lambda: [row.message_id for row in waiting() if row.failures] == [bad] and len(waiting()) == 1)

    assert "headers are not an envelope" in waiting()[0].last_error
    assert len(take("orders")) == 1


def test_a_message_that_no_frame_can_carry_stays_with_its_error_and_holds_up_no_other(
    start_relay, take, eventually
):
    (bad,) = write(*commands(), routing_key="x" * 300)
    others = write(*commands(5))
    start_relay()

    eventually(lambda: [row.message_id for row in waiting() if row.failures] == [bad] and len(waiting()) == 1)

    assert "it cannot be sent" in waiting()[0].last_error
    assert [message.headers["id"] for message in take("orders")] == [str(one) for one in others]


def test_a_message_larger_than_a_frame_arrives_whole(start_relay, take, eventually):
    (large,) = write(*commands())
    OutboxMessage.objects.using(ORDERS).filter(message_id=large).update(body={"text": "ä" * 300_000})
    write(*commands())
    start_relay()

    eventually(is_empty)

    bodies = [json.loads(message.body)[0][0] for message in take("orders")]
    assert bodies[0] == {"text": "ä" * 300_000}
    assert len(bodies) == 2


def test_a_row_with_a_known_key_is_moved_and_not_doubled(start_relay, take, eventually):
    """A saga's deadline has one row: what ends or moves the deadline finds it again."""
    key = f"deadline-{uuid4()}"
    far = utc_now() + timedelta(hours=1)
    write(*commands(), known_key=key, available_at=far)
    (second,) = write(*commands(), known_key=key, available_at=far + timedelta(hours=1))

    (row,) = waiting()
    assert (row.message_id, row.available_at) == (second, far + timedelta(hours=1))

    with transaction.atomic(using=ORDERS), connections[ORDERS].cursor() as cursor:
        cursor.execute(*outbox_rows.delete_statement([key]))
    assert is_empty()


def test_two_relays_publish_every_row_once(start_relay, take, eventually):
    ids = write(*commands(1500))
    start_relay()
    start_relay()

    eventually(is_empty)

    assert Counter(message.headers["id"] for message in take("orders")) == Counter(map(str, ids))


def test_a_crash_between_publishing_and_deleting_repeats_the_message(
    start_relay, take, eventually, monkeypatch
):
    class Crash(BaseException):
        pass

    def crash(*_: object) -> None:
        raise Crash

    (message_id,) = write(*commands())
    with monkeypatch.context() as patch:
        patch.setattr(Relay, "_settle", crash)
        crashed = start_relay()
        crashed.join()
    assert isinstance(crashed.error, Crash)
    assert [row.message_id for row in waiting()] == [message_id]

    start_relay()
    eventually(is_empty)

    assert [message.headers["id"] for message in take("orders")] == [str(message_id)] * 2


def test_what_the_broker_left_unanswered_is_sent_again(start_relay, take, eventually, monkeypatch):
    ids = write(*commands(3))
    answered = Publisher.publish
    calls = []

    def forget_the_first(self, messages, *, wait):
        calls.append(len(messages))
        answers = answered(self, messages, wait=wait)
        if len(calls) == 1:
            answers.confirmed.clear()
        return answers

    monkeypatch.setattr(Publisher, "publish", forget_the_first)
    start_relay()

    eventually(is_empty)

    assert Counter(message.headers["id"] for message in take("orders")) == Counter(
        str(one) for one in ids * 2
    )


def test_a_cut_database_session_is_opened_again(start_relay, take, eventually):
    start_relay()
    write(*commands())
    eventually(is_empty)

    with connections[ORDERS].cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'makegood-relay' AND datname = current_database()"
        )
        assert cursor.rowcount == 1
    write(*commands())

    eventually(is_empty)
    assert len(take("orders")) == 2


def test_no_message_is_sent_before_its_transaction_is_committed(start_relay, take, eventually):
    start_relay()
    parameters = connections[ORDERS].get_connection_params()
    parameters.pop("cursor_factory", None)
    envelope = an_envelope(ConfirmOrder(order_id=uuid4()))
    open_transaction = psycopg2.connect(**parameters)
    outgoing = OutgoingMessage(
        envelope=envelope,
        body={},
        service="orders",
        exchange="commands",
        routing_key="orders.confirm_order",
        available_at=utc_now(),
    )
    with open_transaction.cursor() as cursor:
        cursor.execute(*outbox_rows.insert_statement([outgoing]))
    (visible,) = write(*commands())
    eventually(is_empty)
    assert [message.headers["id"] for message in take("orders")] == [str(visible)]

    with open_transaction.cursor() as cursor:
        cursor.execute(*outbox_rows.wake_relay_statement())
    open_transaction.commit()
    open_transaction.close()

    eventually(is_empty)
    assert eventually(lambda: take("orders"))[0].headers["id"] == str(envelope.message_id)
