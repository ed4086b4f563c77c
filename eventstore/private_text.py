"""Texts of errors without what they quote of customers: an exception may carry a value of the message that it met.

Python and PostgreSQL put a value that they quote between quotation marks. So what stands between such is hidden, unless
it is a word of our own messages, a wire type, a number or an identifier; so are e-mail addresses, and every value about
the customer that the message in question is known to carry. Lines of our own code, which a traceback shows, say nothing
about customers and stay.
"""

import json
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec

from contracts.catalogue import MESSAGE_TYPES
from eventstore.admin_privacy import HIDDEN

SHORTEST = 3
"""Characters of a value that is looked for in a text; a shorter one would be found everywhere."""
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_OPENS_WITHIN_A_WORD = r"(?:(?<!\w)|(?<=\bb))"  # not the apostrophe of `didn't`, but that of b'bytes'
_QUOTED = re.compile(
    rf"""{_OPENS_WITHIN_A_WORD}(['"])((?:\\.|[^\\])*?)(\1(?!\w)|\Z)|([“‘`])(.*?)([”’`]|\Z)""", re.DOTALL
)
_PLAIN = re.compile(
    r"-?[\d.,]+|[a-z_]+\.[a-z_]+\.v\d+|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[A-Z]{3}"
)
_CLASS = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*")
_BETWEEN = frozenset(
    {
        "",
        "The above exception was the direct cause of the following exception:",
        "During handling of the above exception, another exception occurred:",
    }
)
_FRAME = re.compile(r'^\s+File "[^"]*", line \d+, in ')


def scrubbed(text: str, *, known: Iterable[str] | None = ()) -> str:
    """The text of an exception, or a traceback, with what it may say of a customer replaced by `(hidden)`.

    `known` are values about the customer, to be found wherever they stand. Where it is None, nobody can tell what they
    are: then classes of exceptions and lines of code are all that is left.
    """
    without_private = _classes_alone if known is None else _without_quotes
    forms = {form for value in known or () for form in _forms(value)}
    for form in sorted(forms, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", HIDDEN, text)
    lines: list[str] = []
    said: list[str] = []
    is_code = False
    for line in text.splitlines():
        if line.startswith("Traceback (most recent call last):") or _FRAME.match(line):
            is_code = True
        elif not (is_code and line.startswith("    ")):
            is_code = False
            said.append(line)
            continue
        lines += without_private(said)
        said = []
        lines.append(line)
    return "\n".join(lines + without_private(said))


def _without_quotes(lines: list[str]) -> list[str]:
    """Of lines that belong together: a quoted value may hold line breaks."""
    if not lines:
        return []
    text = _EMAIL.sub(HIDDEN, "\n".join(lines))
    return _QUOTED.sub(_hidden_unless_plain, text).split("\n")


def _classes_alone(lines: list[str]) -> list[str]:
    """Of lines between two stacks: the class of the exception, and what Python itself says."""
    said = next((line for line in lines if line not in _BETWEEN), None)
    between = [line for line in lines if line in _BETWEEN]
    if said is None:
        return between
    name, colon, _ = said.partition(":")
    if not _CLASS.fullmatch(name):
        return [HIDDEN, *between]
    return [f"{name}: {HIDDEN}" if colon else name, *between]


def _hidden_unless_plain(match: re.Match[str]) -> str:
    opened, inside, closed = match.group(1, 2, 3) if match[1] else match.group(4, 5, 6)
    is_plain = not inside or inside in _our_words() or _PLAIN.fullmatch(inside)
    return match[0] if is_plain else f"{opened}{HIDDEN}{closed}"


def _forms(value: str) -> set[str]:
    """As it may stand in a text: as it is, and as Python and JSON write it."""
    if len(value) < SHORTEST or value == HIDDEN:
        return set()
    return {value, repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}


@cache
def _our_words() -> frozenset[str]:
    """The names of all fields of all messages."""
    return frozenset(name for message_type in MESSAGE_TYPES.values() for name in _names_in(message_type))


def _names_in(struct: Any) -> set[str]:
    names: set[str] = set()
    for field in msgspec.structs.fields(struct):
        names.add(field.name)
        for inner in (field.type, *getattr(field.type, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                names |= _names_in(inner)
    return names
