"""Messages that something is wrong with, in every way that could be thought of: what may come to any queue."""

import json
import zlib
from typing import Any

import amqp
from kombu import Connection

JSON = "application/json"
PLAIN = {"content_type": JSON, "content_encoding": "utf-8"}

Case = tuple[dict[str, Any], dict[str, Any], str | bytes]
"""Properties, headers, body."""


def malformed(headers: dict[str, Any], payload: dict[str, Any]) -> dict[str, Case]:
    """Name to case. Each is made from a good message, so that nothing else is wrong with it."""
    body = json.dumps([[payload], {}, {}])
    return {
        **_bodies(headers, payload),
        **_properties(headers, body),
        **_celery_headers(headers, body),
        **_envelopes(headers, body),
    }


def with_unreadable_headers(body: bytes) -> amqp.Message:
    """A message with a time in milliseconds, as many a Java client writes it: beyond what Python's times can hold."""
    table = b"\x02atT" + (1_795_435_200_000_000).to_bytes(8, "big")
    message = amqp.Message(body)
    message._serialize_properties = lambda: b"\x20\x00" + len(table).to_bytes(4, "big") + table
    return message


def _bodies(headers: dict[str, Any], payload: dict[str, Any]) -> dict[str, Case]:
    field = next(iter(payload))
    bodies: dict[str, str | bytes] = {
        "no JSON": "{ this is no JSON",
        "half a body": json.dumps([[payload], {}, {}])[:-5],
        "two bodies": json.dumps([[payload], {}, {}]) * 2,
        "not a number": "[[NaN], {}, {}]",
        "no UTF-8": b"\xff\xfe\xfd",
        "UTF-16": json.dumps([[payload], {}, {}]).encode("utf-16"),
        "UTF-8 with a mark": b"\xef\xbb\xbf" + json.dumps([[payload], {}, {}]).encode(),
        "half a surrogate": '[["\\ud800"], {}, {}]',
        "nothing": "",
        "zeros": b"\x00" * 100,
        "too deep": "[" * 100_000 + "]" * 100_000,
        "deep payload": "[[" + '{"a":' * 50_000 + "1" + "}" * 50_000 + "], {}, {}]",
        "rather deep payload": "[[" + '{"a":' * 700 + "1" + "}" * 700 + "], {}, {}]",
        "huge number": "[[" + "9" * 100_000 + "], {}, {}]",
        "no triple": json.dumps({field: payload[field]}),
        "number": "7",
        "text": '"hello"',
        "null": "null",
        "empty list": "[]",
        "pair": json.dumps([[payload], {}]),
        "four parts": json.dumps([[payload], {}, {}, {}]),
        "no arguments": "[[], {}, {}]",
        "kwargs null": "[[], null, {}]",
        "kwargs list": "[[], [1], {}]",
        "keyword arguments": json.dumps([[], {"payload": payload}, {}]),
        "arguments as a text": '["ab", {}, {}]',
        "two arguments": json.dumps([[payload, payload], {}, {}]),
        "embedded callbacks": json.dumps([[payload], {}, {"callbacks": [{"task": "x"}]}]),
        "payload null": "[[null], {}, {}]",
        "payload a list": json.dumps([[[payload]], {}, {}]),
        "payload empty": "[[{}], {}, {}]",
        "a field missing": json.dumps([[{k: v for k, v in payload.items() if k != field}], {}, {}]),
        "a field of the wrong type": json.dumps([[{**payload, field: 1}], {}, {}]),
        "a field that is no id": json.dumps([[{**payload, field: "no uuid"}], {}, {}]),
    }
    return {f"body: {name}": (PLAIN, headers, body) for name, body in bodies.items()}


def _properties(headers: dict[str, Any], body: str) -> dict[str, Case]:
    return {
        "no Celery message at all": (
            {"content_type": "text/plain", "content_encoding": "utf-8"},
            {},
            "hello",
        ),
        "nothing but bytes": ({}, {}, b"\x01\x02\x03"),
        "no content type": ({}, headers, body),
        "empty content type": ({**PLAIN, "content_type": ""}, headers, body),
        "wrong content type": ({**PLAIN, "content_type": "text/html"}, headers, body),
        "YAML": ({**PLAIN, "content_type": "application/x-yaml"}, headers, body),
        "pickle": (
            {"content_type": "application/x-python-serialize", "content_encoding": "binary"},
            headers,
            b"\x80\x04N.",
        ),
        "unknown encoding": ({**PLAIN, "content_encoding": "utf-99"}, headers, b"\xff\xfe"),
    }


def _celery_headers(headers: dict[str, Any], body: str) -> dict[str, Case]:
    """Wrong for Celery, whatever the envelope says."""
    squashed = zlib.compress(body.encode())
    changed: dict[str, dict[str, Any]] = {
        "no id": {"id": None},
        "id a number": {"id": 7},
        "no task": {"task": None},
        "task a list": {"task": ["x"]},
        "task empty": {"task": ""},
        "unknown type": {"task": "inventory.lend_stock.v1"},
        "a task of Celery's own": {"task": "celery.backend_cleanup"},
        "bad timelimit": {"timelimit": "soon"},
        "timelimit of nothing": {"timelimit": [0, 0]},
        "unknown compression": {"compression": "squash"},
        "compression that lies": {"compression": "application/x-gzip"},
        "far eta": {"eta": "2999-01-01T00:00:00+00:00"},
        "bad eta": {"eta": "whenever"},
        "expired": {"expires": "2001-01-01T00:00:00+00:00"},
        "bad expires": {"expires": "never"},
        "another name": {"shadow": ["x"]},
    }
    cases: dict[str, Case] = {
        name: (PLAIN, {key: value for key, value in {**headers, **change}.items() if value is not None}, body)
        for name, change in changed.items()
    }
    cases["compressed"] = (PLAIN, {**headers, "compression": "application/x-gzip"}, squashed)
    cases["no headers"] = (PLAIN, {}, body)
    return {f"Celery: {name}": case for name, case in cases.items()}


def _envelopes(headers: dict[str, Any], body: str) -> dict[str, Case]:
    changed: dict[str, dict[str, Any]] = {
        "no message id": {"message_id": None},
        "message id no uuid": {"message_id": "no uuid"},
        "no type": {"type": None},
        "type of another message": {"type": "billing.void_payment.v1"},
        "type that nobody knows": {"type": "inventory.lend_stock.v1"},
        "no idempotency key": {"idempotency_key": None},
        "no correlation id": {"correlation_id": None},
        "no time": {"occurred_at": None},
        "bad time": {"occurred_at": "yesterday"},
        "attempt a text": {"attempt": "last"},
        "saga no uuid": {"saga_id": "checkout"},
        "sequence a table": {"sequence": {"a": 1}},
        "half a surrogate": {"correlation_id": b"\xed\xa0\x80".decode("utf-8", "surrogatepass")},
    }
    return {
        f"envelope: {name}": (
            PLAIN,
            {key: value for key, value in {**headers, **change}.items() if value is not None},
            body,
        )
        for name, change in changed.items()
    }


def is_good_enough_for_sagas(name: str) -> bool:
    """Whether the orchestrator, which has no Celery in it, may find the whole message in the case and handle it."""
    if name.startswith("Celery: "):
        return name.removeprefix("Celery: ") not in (
            "no headers",
            "unknown compression",
            "compression that lies",
        )
    return name in (
        "body: pair",
        "body: four parts",
        "body: two arguments",
        "body: embedded callbacks",
        "wrong content type",
    )


def publish(connection: Connection, queue: str, name: str, case: Case) -> None:
    """Put the case into the queue as it is, marked with its name in the header `x-case`.

    The broker has confirmed it on return: what is under way to a quorum queue when its channel closes may be lost.
    """
    properties, headers, body = case
    connection.default_channel.basic_publish_confirm(
        amqp.Message(body, application_headers={**headers, "x-case": name}, delivery_mode=2, **properties),
        exchange="",
        routing_key=queue,
    )
