"""A letter's body for people: as JSON, as text, or byte by byte, and never more of it than a page can carry. Pure."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

from eventstore.admin_privacy import HIDDEN, masked, private_values

MOST_SHOWN = 200_000
"""Characters."""
MOST_BYTES = 4_096
"""Of a body that is no text."""
MOST_VALUES = 200
"""Values about the customer that are looked for in exceptions."""


class ShownBody(msgspec.Struct, frozen=True, kw_only=True):
    """`form` says in words what `text` is; `is_cut` that there is more; `private` is what it says of the customer.

    That is None where it cannot be told.
    """

    text: str
    form: str
    is_cut: bool
    private: tuple[str, ...] | None = None


def shown_body(beginning: bytes, *, size: int, is_hidden: bool) -> ShownBody:
    """What the page shows of a body of so many bytes.

    For who may not read what is said about customers, that is hidden: value by value in JSON, else as a whole, for then
    it cannot be told.
    """
    is_whole = size <= len(beginning)
    if is_whole and (shown := _as_json(beginning, is_hidden=is_hidden)) is not None:
        return shown
    if is_hidden:
        return ShownBody(text=HIDDEN, form="no JSON that could be read here", is_cut=False)
    try:
        text = beginning.decode("utf-8", "strict" if is_whole else "ignore")
    except UnicodeDecodeError:
        return ShownBody(
            text="\n".join(_dump(beginning[:MOST_BYTES])), form="bytes, no text", is_cut=size > MOST_BYTES
        )
    text, is_cut = _cut(iter((text,)))
    return ShownBody(text=text, form="text as it came", is_cut=is_cut or not is_whole)


def _as_json(body: bytes, *, is_hidden: bool) -> ShownBody | None:
    """None where it is no JSON, or none that can be read and written again here."""
    try:
        value, form = _message(json.loads(body))
        text, is_cut = _cut(_encoded(masked(value) if is_hidden else value))
        private = tuple(islice(private_values(value), MOST_VALUES))
    except (ValueError, RecursionError):
        return None
    return ShownBody(text=text, form=form, is_cut=is_cut, private=private)


def _message(body: Any) -> tuple[Any, str]:
    """The message itself where the body is one of ours, without what Celery puts around it; else all of it."""
    match body:
        case [[dict() as payload], {}, {}] if not body[1] and not body[2]:
            return payload, "the message; Celery's [[…], {}, {}] around it is left out"
        case _:
            return body, "JSON, not as a message of ours is written"


def _encoded(value: Any) -> Iterator[str]:
    """Piece by piece, as a deep value grows a hundredfold by being indented."""
    return json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(value)


def _cut(pieces: Iterator[str]) -> tuple[str, bool]:
    """At most `MOST_SHOWN` characters, all of which can be sent; and whether there are more."""
    taken: list[str] = []
    length = 0
    for piece in pieces:
        taken.append(piece)
        length += len(piece)
        if length > MOST_SHOWN:
            break
    text = "".join(taken)[:MOST_SHOWN]
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00"), length > MOST_SHOWN


def _dump(body: bytes) -> Iterator[str]:
    """Lines of sixteen bytes: where, in hexadecimal, and those that are letters of ASCII."""
    for start in range(0, len(body), 16):
        line = body[start : start + 16]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in line)
        yield f"{start:08x}  {line.hex(' '):<47}  {letters}"
