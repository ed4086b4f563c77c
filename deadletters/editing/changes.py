"""What an edit changes and whether it may: the pure part of editing a dead letter's message."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn
from uuid import UUID

import msgspec

from contracts.catalogue import MESSAGE_TYPES
from deadletters.collecting.amqp_values import is_storable
from deadletters.errors import InvalidEdit

LARGEST = 256 * 1024
"""Bytes of an edited message."""
_LONGEST_VALUE = 80
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_WHOLE = "$"
"""The path of the value itself."""
_ABSENT: Any = object()


class FieldChange(msgspec.Struct, frozen=True, kw_only=True):
    """One field that differs, by its path (`ship_to.city`, `lines[0].quantity`); a value that is not there is None.

    A name that is no plain word stands in the path as `["its JSON"]`; `$` is the value itself.
    """

    path: str
    before: Any
    after: Any
    is_added: bool = False
    is_removed: bool = False


def changes(before: Any, after: Any) -> list[FieldChange]:
    """What differs between two decoded JSON values, field by field, lists by their places.

    Made to `before`, those that remove from the last to the first, they give `after`. 1, 1.0 and true are three values.
    """
    return list(_changes("", before, after))


def _changes(path: str, before: Any, after: Any) -> Iterator[FieldChange]:
    if isinstance(before, dict) and isinstance(after, dict):
        names = [*before, *(name for name in after if name not in before)]
        for name in names:
            yield from _changes(_inner(path, name), before.get(name, _ABSENT), after.get(name, _ABSENT))
    elif isinstance(before, list) and isinstance(after, list):
        for place in range(max(len(before), len(after))):
            yield from _changes(
                f"{path}[{place}]",
                before[place] if place < len(before) else _ABSENT,
                after[place] if place < len(after) else _ABSENT,
            )
    elif not _is_same(before, after):
        yield FieldChange(
            path=path or _WHOLE,
            before=None if before is _ABSENT else before,
            after=None if after is _ABSENT else after,
            is_added=before is _ABSENT,
            is_removed=after is _ABSENT,
        )


def _is_same(before: Any, after: Any) -> bool:
    """For values that are not both objects or both lists."""
    return type(before) is type(after) and before == after


def _inner(path: str, name: str) -> str:
    if not _PLAIN_NAME.fullmatch(name):
        return f"{path}[{json.dumps(name)}]"
    return f"{path}.{name}" if path else name


def parsed(text: str) -> dict[str, Any]:
    """The edited message: one JSON object. Raises `InvalidEdit` saying where it is none."""
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST:
        raise InvalidEdit(f"The message is larger than {LARGEST // 1024} KiB.")
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise InvalidEdit(
            f"This is not JSON: {error.msg}, in line {error.lineno} at column {error.colno}."
        ) from error
    except RecursionError as error:
        raise InvalidEdit("This is nested too deeply.") from error
    except ValueError as error:  # a number with more digits than Python reads
        raise InvalidEdit(f"This is not JSON that can be read: {error}.") from error
    if not isinstance(value, dict):
        raise InvalidEdit("A message is a JSON object: it begins with { and ends with }.")
    if not is_storable(value):
        raise InvalidEdit(
            "The message holds a character that cannot be stored: NUL, or half a surrogate pair."
        )
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidEdit(
            f"The field {json.dumps(twice)} stands twice in one object.", noted="a field stands twice"
        )
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidEdit(f"{name} is no JSON value.")


def check_edit(
    *, wire_type: str, correlation_id: str, before: Mapping[str, Any], after: dict[str, Any]
) -> list[FieldChange]:
    """What the edit changes. Raises `InvalidEdit` where the message breaks its type's schema, or changes nothing.

    Its identifiers tie it to its order, and its saga to it: one that is valid stays.
    """
    changed = changes(dict(before), after)
    if not changed:
        raise InvalidEdit("Nothing is changed. To send the message as it is, replay the letter.")
    message_type = MESSAGE_TYPES.get(wire_type)
    if message_type is None:
        raise InvalidEdit(
            f"contracts/ has no message type {wire_type!r}, so nobody can tell what belongs in it. "
            "Once a release has it, replay the letter."
        )
    _check_identifiers(before, after, correlation_id=correlation_id)
    try:
        understood = message_type.from_payload(after).to_payload()
    except (msgspec.ValidationError, UnicodeError) as error:
        raise _misfit(str(error), after, wire_type=wire_type) from error
    there = set(_unknown("", before, understood))
    unknown = [path for path in _unknown("", after, understood) if path not in there]
    if unknown:
        raise InvalidEdit(
            f"{wire_type} has no field {', '.join(unknown)}.", noted=f"it has no field {', '.join(unknown)}"
        )
    return changed


def _check_identifiers(before: Mapping[str, Any], after: Mapping[str, Any], *, correlation_id: str) -> None:
    for name, value in after.items():
        if not name.endswith("_id"):
            continue
        wanted = _uuid(before.get(name))
        if wanted is None and name == "order_id":
            wanted = _uuid(correlation_id)
        if wanted is not None and _uuid(value) != wanted:
            raise InvalidEdit(
                f"{name} is {_short(value)}, and must be {wanted}: it says what the message belongs to, and whoever "
                "waits for an answer waits for that one's.",
                noted=f"{name} is another one",
            )


def _misfit(problem: str, after: Any, *, wire_type: str) -> InvalidEdit:
    said, _, where = problem.partition(" - at `")
    path = where.rstrip("`").removeprefix(_WHOLE).removeprefix(".")
    said = said[:1].lower() + said[1:]
    if not path:
        return InvalidEdit(f"It is no {wire_type}: {said}.", noted=f"it is no {wire_type}: {said}")
    value = _at(f".{path}", after)
    found = f"{path} is {_short(value)}" if value is not _ABSENT else path
    return InvalidEdit(f"{found}: {said}.", noted=f"{path}: {said}")


def _at(path: str, value: Any) -> Any:
    for name, place in _STEP.findall(path):
        try:
            value = value[name] if name else value[int(place)]
        except (KeyError, IndexError, TypeError):
            return _ABSENT
    return value


def _unknown(path: str, given: Any, understood: Any) -> Iterator[str]:
    """The paths of fields that the type does not have; what it does not understand as a whole is passed over."""
    if isinstance(given, Mapping) and isinstance(understood, dict):
        for name, value in given.items():
            if name in understood:
                yield from _unknown(_inner(path, name), value, understood[name])
            else:
                yield _inner(path, name)
    elif isinstance(given, list) and isinstance(understood, list):
        for place, (value, inner) in enumerate(zip(given, understood, strict=False)):
            yield from _unknown(f"{path}[{place}]", value, inner)


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
