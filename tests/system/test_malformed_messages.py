"""Whatever bytes come to a queue: none is lost, none ends its consumer, and what is whole is handled."""

import json
from typing import Any
from uuid import uuid4

import amqp
import pytest
from django.conf import settings
from kombu import Connection

from contracts.message import Message
from deadletters.models import DeadLetter
from tests.builders import an_envelope, order_placed, reserve_stock
from tests.running_shop import RunningShop, wait_until

JSON = "application/json"


HARMLESS_TO_SAGAS = {"no id", "list as task", "bad timelimit", "far eta", "expired", "unknown type"}
"""Wrong only for Celery, which has no part in the orchestrator: it goes by the envelope alone."""


def malformed(message: Message) -> dict[str, tuple[dict[str, Any], dict[str, Any], Any]]:
    """Name: properties, headers and body of a message that something is wrong with."""
    properties = {"content_type": JSON, "content_encoding": "utf-8"}
    headers = an_envelope(message).to_headers()
    body = json.dumps([[message.to_payload()], {}, {}])
    without_id = {name: value for name, value in headers.items() if name != "id"}
    deep = "[" * 100_000 + "]" * 100_000
    return {
        "no JSON": (properties, headers, "{ this is no JSON"),
        "no UTF-8": (properties, headers, b"\xff\xfe\xfd"),
        "empty": (properties, headers, ""),
        "too deep": (properties, headers, deep),
        "plain text": ({"content_type": "text/plain", "content_encoding": "utf-8"}, {}, "hello"),
        "no content type": ({}, headers, body),
        "no headers": (properties, {}, body),
        "no id": (properties, without_id, body),
        "no triple": (properties, headers, json.dumps({"order_id": "1"})),
        "number": (properties, headers, "7"),
        "kwargs null": (properties, headers, "[[], null, {}]"),
        "kwargs list": (properties, headers, "[[], [1], {}]"),
        "two arguments": (properties, headers, "[[1, 2], {}, {}]"),
        "unknown type": (properties, {**headers, "task": "inventory.lend_stock.v1"}, body),
        "list as task": (properties, {**headers, "task": ["x"]}, body),
        "bad timelimit": (properties, {**headers, "timelimit": "soon"}, body),
        "bad compression": (properties, {**headers, "compression": "squash"}, body),
        "pickle": ({"content_type": "application/x-python-serialize"}, headers, b"\x80\x04N."),
        "far eta": (properties, {**headers, "eta": "2999-01-01T00:00:00+00:00"}, body),
        "expired": (properties, {**headers, "expires": "2001-01-01T00:00:00+00:00"}, body),
        "wrong body": (properties, headers, json.dumps([[{"order_id": 1}], {}, {}])),
        "wrong envelope": (properties, {**headers, "message_id": "no uuid"}, body),
    }


def publish(connection: Connection, queue: str, case: tuple[dict[str, Any], dict[str, Any], Any]) -> None:
    properties, headers, body = case
    connection.default_channel.basic_publish(
        amqp.Message(body, application_headers=headers, delivery_mode=2, **properties),
        exchange="",
        routing_key=queue,
    )


def with_unreadable_headers(body: bytes) -> amqp.Message:
    """A message with a time in milliseconds, as many a Java client writes it: beyond what Python's times can hold."""
    table = b"\x02atT" + (1_795_435_200_000_000).to_bytes(8, "big")
    message = amqp.Message(body)
    message._serialize_properties = lambda: b"\x20\x00" + len(table).to_bytes(4, "big") + table
    return message


@pytest.mark.parametrize(
    ("service", "process"), [("inventory", "inventory-worker"), ("sagas", "orchestrator")]
)
def test_malformed_messages_become_dead_letters_and_their_consumer_goes_on(
    shop: RunningShop, service: str, process: str
) -> None:
    restarts = shop.processes.restarts(process)
    cases = malformed(reserve_stock(uuid4()) if service == "inventory" else order_placed())
    if service == "sagas":
        cases = {name: case for name, case in cases.items() if name not in HARMLESS_TO_SAGAS}
    run = uuid4().hex
    with Connection(settings.BROKER_URL) as connection:
        for name, (properties, headers, body) in cases.items():
            publish(connection, service, (properties, {**headers, "x-case": name, "x-run": run}, body))
        unreadable = with_unreadable_headers(run.encode())
        connection.default_channel.basic_publish(unreadable, exchange="", routing_key=service)

    def dead() -> dict[str, DeadLetter]:
        letters = DeadLetter.objects.filter(**{"headers__x-run": run, "service": service})
        return {letter.headers["x-case"]: letter for letter in letters}

    try:
        wait_until(lambda: set(dead()) == set(cases), what="every malformed message to be a dead letter")
    except AssertionError as error:
        raise AssertionError(f"lost or still waiting: {sorted(set(cases) - set(dead()))}") from error
    for name, letter in dead().items():
        body = cases[name][2]
        assert bytes(letter.body) == (body.encode() if isinstance(body, str) else body), name
    wait_until(
        lambda: DeadLetter.objects.filter(service=service, body=run.encode()).exists(),
        what="the message with unreadable headers to be a dead letter",
    )
    order = shop.place_order()
    shop.settle(order)

    assert order.status == "confirmed"
    assert shop.processes.restarts(process) == restarts, "a message ended its consumer"
