"""The words by which letters are found. Pure: what is stored and what is typed are cut into words by the same rule.

A word is a run of letters and digits, in lower case; a name in camel case is its parts too, and an identifier (a UUID)
is one word. Nothing is found that not everybody may read who may view letters. A body contributes what it shows to
people who may not see personal data, and an exception what it does not quote and the body does not say of the customer.
Of a body that is not JSON nobody can tell what is personal: it contributes nothing, and its exception its class alone.
"""

import re
from functools import lru_cache
from typing import Any

import msgspec

from eventstore.admin_privacy import HIDDEN, masked, private_values
from eventstore.private_text import scrubbed

LONGEST_TEXT = 20_000
"""Characters of an exception, or of a body, that are looked at."""
LARGEST_BODY = 1_000_000
"""Bytes; a body that is larger is not opened for its words."""
MOST_WORDS = 1_000
"""Different words of a letter; what comes after them is not found."""
LONGEST_WORD = 64
"""Characters; of what is longer, the beginning is the word."""
MOST_TYPED = 20
"""Words of a search; what is typed after them narrows it no further."""

_RUN = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
_HEX = "[0-9a-fA-F]"
_IDENTIFIER = re.compile(rf"{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}")
_BEGINNING = re.compile(rf"{_HEX}{{8}}-(?:{_HEX}{{4}}-){{0,3}}{_HEX}{{0,12}}")
_TYPED = re.compile(r"([^\W_]+(?:-[^\W_]+)*-?)(\*?)")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def words_of(*, service: str, wire_type: str, exception: str, body: bytes) -> str:
    """The different words of a letter, in this order and as many as are kept, as a `tsvector` is written."""
    shown, private = _texts_of(body)
    if private is None:
        words = words_in(service, wire_type, exception.split(":", 1)[0])
    else:
        said = words_in(scrubbed(exception[:LONGEST_TEXT]).replace(HIDDEN, " "))
        if private:
            secret = set(words_in(*private))
            said = [word for word in said if word not in secret]
        words = [*words_in(service, wire_type), *said, *words_in(*shown)]
    return " ".join(list(dict.fromkeys(words))[:MOST_WORDS])


def words_in(*texts: str) -> list[str]:
    """The words of the texts, one after another; those that come again too."""
    said = "\n".join(texts)[:LONGEST_TEXT]
    return [word for run in _RUN.findall(said) for word in _words(run)]


def query_of(text: str) -> str:
    """What was typed as a `tsquery` is written. Empty where there is no word in it.

    A word with an asterisk after it is a beginning, and so is what begins as an identifier.
    """
    terms: dict[str, None] = {}
    for run, star in _TYPED.findall(text[:LONGEST_TEXT]):
        if _IDENTIFIER.fullmatch(run):
            terms[f"'{_cut(run)}'"] = None
        elif _BEGINNING.fullmatch(run):
            terms[f"'{_cut(run)}':*"] = None
        else:
            *whole, last = filter(None, run.split("-"))
            terms |= dict.fromkeys(f"'{_cut(word)}'" for word in whole)
            terms[f"'{_cut(last)}'{':*' if star else ''}"] = None
    return " & ".join(list(terms)[:MOST_TYPED])


def _texts_of(body: bytes) -> tuple[list[str], list[str] | None]:
    """What a body shows to everybody, and what it hides; None where that cannot be told."""
    shown: list[str] = []
    if len(body) > LARGEST_BODY:
        return shown, None
    try:
        value = msgspec.json.decode(body)
        _note_texts(masked(value), shown)
        return shown, list(private_values(value))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return [], None


def _note_texts(value: Any, found: list[str]) -> None:
    """Keys and values of decoded JSON, in their order; what is the same in most bodies says nothing."""
    if isinstance(value, dict):
        for key, inner in value.items():
            found.append(key)
            _note_texts(inner, found)
    elif isinstance(value, list):
        for inner in value:
            _note_texts(inner, found)
    elif value is not None and not isinstance(value, bool) and value != HIDDEN:
        found.append(str(value))


@lru_cache(maxsize=4096)  # the same keys, types and exceptions come again and again
def _words(run: str) -> tuple[str, ...]:
    """The words of a run of letters, digits and hyphens; of a name in camel case the whole and its parts."""
    if "-" in run and _IDENTIFIER.fullmatch(run):
        return (_cut(run),)
    found = []
    for word in run.split("-"):
        found.append(_cut(word))
        if not (word.islower() or word.isupper()) and len(parts := _CAMEL.findall(word)) > 1:
            found += map(_cut, parts)
    return tuple(found)


def _cut(word: str) -> str:
    return word.lower()[:LONGEST_WORD]
