"""AMQP's values as JSON that PostgreSQL takes, and nothing lost: what JSON lacks becomes an object with a `$` key."""

import base64
import math
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

LONGEST_TEXT = 200
"""Characters of a text in an indexed column; the whole of it is in the headers."""


def to_json(value: Any) -> Any:
    """The value as JSON: bytes, decimals, times, odd floats, and texts that `jsonb` refuses are tagged."""
    if isinstance(value, str):
        return value if is_plain(value) else {"$text": _base64(value.encode("utf-8", "surrogatepass"))}
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": str(value)}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$bytes": _base64(bytes(value))}
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    if isinstance(value, Mapping):
        return _table(value)
    if isinstance(value, (list, tuple)):
        return [to_json(inner) for inner in value]
    return {"$repr": readable(repr(value))}


def _table(table: Mapping[Any, Any]) -> Any:
    plain: dict[str, Any] = {}
    for key, inner in table.items():
        if not isinstance(key, str) or key[:1] == "$" or not is_plain(key):
            return {"$table": [[to_json(key), to_json(inner)] for key, inner in table.items()]}
        plain[key] = to_json(inner)
    return plain


def is_plain(text: str) -> bool:
    """Whether PostgreSQL can store the text: it has neither NUL nor half a surrogate pair."""
    if "\x00" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_storable(value: Any) -> bool:
    """Whether PostgreSQL can store this decoded JSON as `jsonb`."""
    if isinstance(value, str):
        return is_plain(value)
    if isinstance(value, Mapping):
        return all(is_storable(key) and is_storable(inner) for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(is_storable, value))
    return True


def readable(text: str, longest: int | None = None) -> str:
    """The text with what PostgreSQL refuses replaced by �, cut to so many characters."""
    text = text[:longest] if longest is not None else text
    return text.replace("\x00", "�").encode("utf-8", "replace").decode()


def column(value: Any) -> str:
    """What an indexed text column shows of a header; empty for anything but a text."""
    return readable(value, LONGEST_TEXT) if isinstance(value, str) else ""


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
