"""A queue with other arguments gets the declared ones: whatever happens meanwhile, no message of it is lost."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import amqp
import psycopg2
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connections
from kombu import Connection, Queue

from messaging import broker_checks, queue_migration, topology
from messaging.database import session_name
from messaging.properties import UNDECODABLE

ROOT = Path(__file__).resolve().parents[3]
NAME = "shipping"
ROOM = queue_migration.waiting_room_of(NAME)
FAILPOINTS = (
    "migration.waiting_room_bound",
    "migration.queue_unbound",
    "migration.window_published",
    "migration.window_published:2",
    "migration.queue_deleted",
    "migration.queue_declared",
    "migration.window_published:4",
    "migration.moved_back",
)
COUNT = 120
"""More than one window."""


@pytest.fixture
def broker(committed, broker_url) -> Iterator[Connection]:
    with Connection(broker_url) as connection:
        topology.declare(connection)
        yield connection
    with Connection(broker_url) as connection:
        for name in (NAME, f"{NAME}.dead", ROOM, f"{ROOM}.dead"):
            connection.default_channel.queue_delete(name)
        topology.declare(connection)


def make_old(connection: Connection, name: str = NAME, **arguments: object) -> None:
    """The queue as another release declared it, with its bindings."""
    queue = queue_migration.declared_queue(name)
    old = Queue(name, durable=True, queue_arguments={"x-queue-type": "classic", **arguments})
    with connection.channel() as channel:
        channel.queue_delete(name)
        old(channel).queue_declare()
        queue_migration._bind(queue, queue, channel)


def put(connection: Connection, *ids: str, exchange: str = "", routing_key: str = NAME) -> None:
    """Publish, confirmed; a message that no queue takes fails the test."""
    with connection.channel() as channel:
        publisher = queue_migration._Confirmed(channel)
        for message_id in ids:
            message = amqp.Message(
                f"[[{{}}], {{}}, {{}}] {message_id}",
                message_id=message_id,
                correlation_id=f"order of {message_id}",
                content_type="application/json",
                content_encoding="utf-8",
                delivery_mode=2,
                priority=3,
                type="a type",
                application_headers={
                    "message_id": message_id,
                    "x-death": [{"queue": "x", "count": 2}],
                    "n": 7,
                },
            )
            channel._basic_publish(message, exchange=exchange, routing_key=routing_key, mandatory=True)
            publisher._published += 1
            publisher._open.add(publisher._published)
        publisher.publish([])


def take_all(connection: Connection, name: str = NAME) -> list[amqp.Message]:
    with connection.channel() as channel:
        channel.auto_decode = False
        found = []
        while (message := channel.basic_get(name, no_ack=True)) is not None:
            found.append(message)
    return found


def is_migrated(connection: Connection, name: str = NAME) -> bool:
    is_declared = queue_migration._is_as_declared(queue_migration.declared_queue(name), connection)
    return is_declared and queue_migration._state(queue_migration.waiting_room_of(name), connection) is None


def migrate(connection: Connection, name: str = NAME) -> bool:
    return queue_migration.migrate(name, connection, progress=lambda what, moved, total: None)


def test_messages_keep_their_bytes_properties_and_headers(broker):
    make_old(broker)
    with broker.channel() as channel:
        channel.basic_publish(
            amqp.Message(b"\xff\x00 no text", content_type="x"), exchange="", routing_key=NAME
        )
    put(broker, "one")

    assert migrate(broker)

    garbage, one = take_all(broker)
    assert (bytes(garbage.body), garbage.properties.get("content_type")) == (b"\xff\x00 no text", "x")
    assert bytes(one.body) == b"[[{}], {}, {}] one"
    properties = {**one.properties}
    headers = properties.pop("application_headers")
    assert properties == {
        "message_id": "one",
        "correlation_id": "order of one",
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "delivery_mode": 2,
        "priority": 3,
        "type": "a type",
    }
    assert {**headers, "x-delivery-count": 0} == {
        "message_id": "one",
        "x-death": [{"queue": "x", "count": 2}],
        "n": 7,
        "x-delivery-count": 0,
    }
    assert is_migrated(broker)


def test_properties_that_the_client_cannot_read_are_passed_on_as_they_are(broker):
    """A table with a time that Python has no number for."""
    value = b"\x01kT" + b"\xff" * 8
    raw = (0x2000).to_bytes(2, "big") + len(value).to_bytes(4, "big") + value
    make_old(broker)
    with broker.channel() as channel:
        channel.basic_publish(queue_migration._Verbatim("body", raw), exchange="", routing_key=NAME)
    put(broker, "one")

    assert migrate(broker)

    unreadable, one = take_all(broker)
    assert (bytes(unreadable.body), one.properties["message_id"]) == (b"body", "one")
    assert value in unreadable.properties[UNDECODABLE]


def test_a_quorum_queue_with_another_limit_is_migrated_in_order(broker):
    make_old(broker, **{"x-queue-type": "quorum", "x-delivery-limit": 3})
    ids = [f"m{number}" for number in range(COUNT)]
    put(broker, *ids)

    assert migrate(broker)

    assert [message.properties["message_id"] for message in take_all(broker)] == ids
    assert is_migrated(broker)


def test_a_dead_letter_queue_is_migrated_too(broker):
    make_old(broker, f"{NAME}.dead")
    put(broker, "dead", routing_key=f"{NAME}.dead")

    assert migrate(broker, f"{NAME}.dead")

    assert [message.properties["message_id"] for message in take_all(broker, f"{NAME}.dead")] == ["dead"]
    assert is_migrated(broker, f"{NAME}.dead")


def test_a_queue_as_declared_is_left_alone(broker):
    put(broker, "stays")

    assert not migrate(broker)

    assert [message.properties["message_id"] for message in take_all(broker)] == ["stays"]


def test_what_is_published_meanwhile_arrives(broker, broker_url):
    make_old(broker)
    put(broker, *(f"before{number}" for number in range(COUNT)))
    done, sent = threading.Event(), []

    def publish() -> None:
        with Connection(broker_url) as connection:
            while not done.is_set():
                message_id = f"meanwhile{len(sent)}"
                put(connection, message_id, exchange=topology.COMMANDS, routing_key=f"{NAME}.book_shipment")
                sent.append(message_id)

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        assert migrate(broker)
    finally:
        done.set()
        publisher.join()

    arrived = {message.properties["message_id"] for message in take_all(broker)}
    assert arrived == {*sent, *(f"before{number}" for number in range(COUNT))}
    assert len(sent) > 3


def environment(broker_url: str, **more: str) -> dict[str, str]:
    """For a process of its own on this run's databases and virtual host."""
    base = settings.DATABASES["default"]
    server = f"postgres://{base['USER']}:{base['PASSWORD']}@{base['HOST']}:{base['PORT']}"
    urls = {
        "DATABASE_URL" if alias == "default" else f"{alias.upper()}_DATABASE_URL": f"{server}/{name}"
        for alias in set(settings.SERVICES.values())
        if (name := connections.settings[alias]["NAME"])
    }
    return {**os.environ, **urls, "BROKER_URL": broker_url, **more}


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_killed_at_any_point_it_goes_on_and_loses_nothing(broker, broker_url, failpoint):
    make_old(broker)
    ids = {f"m{number}" for number in range(COUNT)}
    put(broker, *ids)

    command = [sys.executable, "manage.py", "migrate_queue", NAME]
    killed = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(broker_url, MAKEGOOD_FAILPOINT=failpoint),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert "messaging.W033" in [problem.id for problem in broker_checks.check_broker()]
    put(broker, "between", exchange=topology.COMMANDS, routing_key=f"{NAME}.book_shipment")

    again = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(broker_url),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert again.returncode == 0, again.stderr
    assert is_migrated(broker)
    assert {message.properties["message_id"] for message in take_all(broker)} == {*ids, "between"}


def test_a_queue_in_use_is_refused_and_left_as_it_is(broker, broker_url):
    make_old(broker)
    with Connection(broker_url) as other, other.channel() as channel:
        channel.basic_consume(NAME, callback=lambda message: None)
        with pytest.raises(CommandError, match="1 consumers are attached"):
            call_command("migrate_queue", NAME)

    assert queue_migration._state(ROOM, broker) is None
    assert not queue_migration._is_as_declared(queue_migration.declared_queue(NAME), broker)


def test_a_worker_that_is_ending_may_still_hold_messages(broker):
    make_old(broker)
    parameters = connections[settings.SERVICES[NAME]].get_connection_params()
    parameters.pop("cursor_factory", None)
    session = psycopg2.connect(**{**parameters, "application_name": session_name(NAME)})
    try:
        with pytest.raises(queue_migration.MigrationRefused, match="1 sessions named makegood-shipping"):
            migrate(broker)
    finally:
        session.close()


def test_it_can_wait_until_the_queue_is_free(broker, broker_url, eventually):
    make_old(broker)
    put(broker, "one")
    process = None
    with Connection(broker_url) as other:
        other.default_channel.basic_consume(NAME, callback=lambda message: None)
        process = subprocess.Popen(
            [sys.executable, "manage.py", "migrate_queue", NAME, "--wait"],
            cwd=ROOT,
            env=environment(broker_url, PYTHONUNBUFFERED="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert "waiting: 1 consumers" in process.stdout.readline()
    with process:
        assert process.wait(timeout=60) == 0
    assert is_migrated(broker)
    assert [message.properties["message_id"] for message in take_all(broker)] == ["one"]


def test_a_name_that_nothing_declares_is_refused(broker):
    with pytest.raises(CommandError, match="declares no queue 'shiping'"):
        call_command("migrate_queue", "shiping")


def test_the_broker_checks_name_what_is_wrong_and_the_command_that_mends_it(broker, monkeypatch):
    assert broker_checks.check_broker() == []

    make_old(broker)
    broker.default_channel.queue_delete(f"{NAME}.dead")
    found = {problem.id: problem for problem in broker_checks.check_broker()}
    assert found.keys() == {"messaging.E031", "messaging.E032"}
    assert f"manage.py migrate_queue {NAME}" in found["messaging.E032"].hint

    monkeypatch.setattr(settings, "BROKER_URL", "amqp://guest@127.0.0.1:1//")
    assert [problem.id for problem in broker_checks.check_broker()] == ["messaging.E030"]
