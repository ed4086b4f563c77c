"""Our frames are those that py-amqp would write and can read."""

from struct import pack, unpack_from

import amqp
import pytest
from amqp.exceptions import FrameSyntaxError
from amqp.serialization import decode_properties_basic, loads

from messaging.frames import publish_frames

HEADERS = {
    "id": "0193",
    "task": "orders.confirm_order.v1",
    "name": "Müller \N{SNOWMAN}",
    "parent_id": None,
    "ignore_result": True,
    "is_none": False,
    "attempt": 3,
    "far": 2**40,
    "ratio": 0.5,
    "argsrepr": "",
}


def frames_of(data: bytes) -> list[tuple[int, int, bytes]]:
    """Type, channel and payload of each frame."""
    found, offset = [], 0
    while offset < len(data):
        kind, channel, size = unpack_from(">BHI", data, offset)
        payload = data[offset + 7 : offset + 7 + size]
        assert data[offset + 7 + size] == 0xCE
        found.append((kind, channel, payload))
        offset += 8 + size
    return found


def a_message(**changed: object) -> bytes:
    given = {
        "channel": 3,
        "frame_max": 131072,
        "exchange": "commands",
        "routing_key": "orders.confirm_order",
        "headers": HEADERS,
        "message_id": "0193-m",
        "correlation_id": "0193-c",
        "body": b"[[{}], {}, {}]",
    }
    return publish_frames(**{**given, **changed})


def test_the_broker_is_told_where_the_message_goes():
    (kind, channel, payload), *_ = frames_of(a_message())

    assert (kind, channel) == (1, 3)
    assert payload[:4] == pack(">HH", 60, 40)
    values, _ = loads("Bssbb", payload, 4)
    assert values == [0, "commands", "orders.confirm_order", True, False]


def test_headers_and_properties_are_read_back_as_they_were():
    _, (kind, _, payload), _ = frames_of(a_message())

    class_id, weight, size = unpack_from(">HHQ", payload)
    properties, end = decode_properties_basic(payload, 12)
    assert (kind, class_id, weight, size, end) == (2, 60, 0, 14, len(payload))
    assert properties == {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "application_headers": HEADERS,
        "delivery_mode": 2,
        "correlation_id": "0193-c",
        "message_id": "0193-m",
    }


def test_properties_are_written_as_py_amqp_writes_them():
    headers = {name: value for name, value in HEADERS.items() if not isinstance(value, int) or value is True}
    message = amqp.Message(
        "",
        content_type="application/json",
        content_encoding="utf-8",
        application_headers=headers,
        delivery_mode=2,
        correlation_id="0193-c",
        message_id="0193-m",
    )

    _, (_, _, payload), _ = frames_of(a_message(headers=headers))

    assert payload[12:] == message._serialize_properties()


@pytest.mark.parametrize("size", [0, 1, 4088, 4089, 20_000])
def test_a_long_body_is_cut_into_frames_that_the_broker_takes(size):
    body = bytes(number % 251 for number in range(size))

    _, _, *bodies = frames_of(a_message(frame_max=4096, body=body))

    assert b"".join(payload for _, _, payload in bodies) == body
    assert all(kind == 3 and len(payload) <= 4088 for kind, _, payload in bodies)


@pytest.mark.parametrize(
    "wrong",
    [
        {"exchange": "e" * 256},
        {"routing_key": "ä" * 128},
        {"headers": {"items": [1]}},
        {"headers": {"number": 2**63}},
        {"headers": {"long": "x" * 140_000}},
    ],
    ids=str,
)
def test_what_no_frame_can_carry_is_refused_with_a_reason(wrong):
    with pytest.raises(FrameSyntaxError):
        a_message(**wrong)
