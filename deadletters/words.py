"""The words by which letters are found. Pure: what is stored and what is typed are cut into words by the same rule.

A word is a run of letters and digits, in lower case; a name in camel case is its parts too, and an identifier (a UUID)
is one word. Nothing is found that may not be read: a body contributes what it shows to people who may not see personal
data, and one that is not JSON nothing at all, for nobody can tell what in it is personal.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from eventstore.admin_privacy import HIDDEN, masked

LONGEST_TEXT = 20_000
"""Characters of a letter that are looked at."""
LARGEST_BODY = 1_000_000
"""Bytes; a body that is larger is not opened for its words."""
MOST_WORDS = 1_000
"""Different words of a letter; what comes after them is not found."""
LONGEST_WORD = 64
"""Characters; what is longer is found by its beginning."""
MOST_TYPED = 20
"""Words of a search; what is typed after them narrows it no further."""

_HEX = "[0-9a-f]"
_WORD = re.compile(rf"{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}|[^\W_]+", re.IGNORECASE)
_TYPED = re.compile(rf"{_HEX}{{8}}-(?:{_HEX}{{1,4}}(?:-{_HEX}{{0,12}})*)?(?![^\W_])|[^\W_]+", re.IGNORECASE)
"""As `_WORD`, and the beginning of an identifier is one word too."""
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def words_of(*texts: str, body: bytes = b"") -> list[str]:
    """The different words of the texts, then of the body, as many as are kept."""
    found: dict[str, None] = {}
    left = LONGEST_TEXT
    for text in _all(texts, body):
        for word in _words(text[:left]):
            found[word] = None
        left -= len(text)
        if left <= 0 or len(found) >= MOST_WORDS:
            break
    return list(found)[:MOST_WORDS]


def query_of(text: str) -> str:
    """What was typed as a `tsquery`: each word begins a word of the letter. Empty where there is no word in it."""
    words = dict.fromkeys(_cut(word) for word in _TYPED.findall(text[:LONGEST_TEXT]))
    return " & ".join(f"'{word}':*" for word in list(words)[:MOST_TYPED])


def _all(texts: Iterable[str], body: bytes) -> Iterator[str]:
    yield from texts
    if not body or len(body) > LARGEST_BODY:
        return
    try:
        yield from _texts(masked(msgspec.json.decode(body)))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return


def _texts(value: Any) -> Iterator[str]:
    """Keys and values of decoded JSON, in their order; what is the same in most bodies says nothing."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif value is not None and not isinstance(value, bool) and value != HIDDEN:
        yield str(value)


def _words(text: str) -> Iterator[str]:
    for word in _WORD.findall(text):
        yield _cut(word)
        if not (word.islower() or word.isupper()) and len(parts := _CAMEL.findall(word)) > 1:
            yield from map(_cut, parts)


def _cut(word: str) -> str:
    return word.lower()[:LONGEST_WORD]
