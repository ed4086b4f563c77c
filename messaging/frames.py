"""A message as AMQP 0-9-1 carries it: the bytes of the frames of one `basic.publish`.

py-amqp encodes a message field by field and writes each one by itself; that is most of what publishing costs a
Python process. Here a message is encoded for what an envelope can hold, and many of them travel in one write.
"""

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from typing import Any

from amqp.exceptions import FrameSyntaxError

_FRAME = Struct(">BHI")
_METHOD = Struct(">HHH")
_CONTENT = Struct(">HHQH")
_LENGTH = Struct(">I")
_INTEGER = Struct(">cq")
_FLOAT = Struct(">cd")
_END = b"\xce"
_FRAME_METHOD, _FRAME_HEADER, _FRAME_BODY = 1, 2, 3
_FRAME_OVERHEAD = 8
_BASIC, _PUBLISH = 60, 40
_MANDATORY = b"\x01"
_PERSISTENT = b"\x02"
_PROPERTIES = 0x8000 | 0x4000 | 0x2000 | 0x1000 | 0x0400 | 0x0080
"""Content type, content encoding, headers, delivery mode, correlation id, message id: written in this order."""


def publish_frames(
    *,
    channel: int,
    frame_max: int,
    exchange: str,
    routing_key: str,
    headers: Mapping[str, Any],
    message_id: str,
    correlation_id: str,
    body: bytes,
) -> bytes:
    """The frames that publish one persistent JSON message, mandatory.

    Raises `FrameSyntaxError` where a name is longer than 255 bytes, or a header holds what a table cannot.
    """
    method = b"".join((_METHOD.pack(_BASIC, _PUBLISH, 0), _short(exchange), _short(routing_key), _MANDATORY))
    table = _table(headers)
    properties = b"".join(
        (
            _CONTENT.pack(_BASIC, 0, len(body), _PROPERTIES),
            _short("application/json"),
            _short("utf-8"),
            _LENGTH.pack(len(table)),
            table,
            _PERSISTENT,
            _short(correlation_id),
            _short(message_id),
        )
    )
    if len(properties) > frame_max - _FRAME_OVERHEAD:
        raise FrameSyntaxError(f"the headers take {len(properties)} bytes, more than one frame holds")
    parts = [
        _FRAME.pack(_FRAME_METHOD, channel, len(method)),
        method,
        _END,
        _FRAME.pack(_FRAME_HEADER, channel, len(properties)),
        properties,
        _END,
    ]
    most = frame_max - _FRAME_OVERHEAD
    for first in range(0, len(body), most):
        piece = body[first : first + most]
        parts += (_FRAME.pack(_FRAME_BODY, channel, len(piece)), piece, _END)
    return b"".join(parts)


def _short(text: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > 255:
        raise FrameSyntaxError(f"{text[:40]!r}... has {len(encoded)} bytes, more than 255")
    return bytes((len(encoded),)) + encoded


@lru_cache(maxsize=256)
def _name(name: str) -> bytes:
    return _short(name)


def _table(headers: Mapping[str, Any]) -> bytes:
    parts = []
    for name, value in headers.items():
        parts.append(_name(name))
        if isinstance(value, str):
            encoded = value.encode()
            parts += (b"S", _LENGTH.pack(len(encoded)), encoded)
        elif value is None:
            parts.append(b"V")
        elif isinstance(value, bool):
            parts.append(b"t\x01" if value else b"t\x00")
        elif isinstance(value, int):
            if not -(2**63) <= value < 2**63:
                raise FrameSyntaxError(f"the header {name!r} is a number of more than 64 bits")
            parts.append(_INTEGER.pack(b"L", value))
        elif isinstance(value, float):
            parts.append(_FLOAT.pack(b"d", value))
        else:
            raise FrameSyntaxError(f"the header {name!r} is a {type(value).__name__}, which no header is")
    return b"".join(parts)
