"""The fields of a message type, for people who write its JSON by hand. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from contracts.message import Message

_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "array": "list",
    "object": "object",
    "null": "null",
}
_FORMATS = {
    "uuid": "identifier (UUID)",
    "date-time": "time (2026-01-31T17:05:00Z)",
}


class MessageField(msgspec.Struct, frozen=True, kw_only=True):
    """One field by its path (`ship_to.city`, `lines[].quantity`), what may stand there, and whether it must."""

    path: str
    type: str
    is_required: bool


def fields_of(message_type: type[Message]) -> list[MessageField]:
    """All fields, those of nested objects after the object that has them."""
    schema = msgspec.json.schema(message_type)
    definitions: Mapping[str, Any] = schema.get("$defs", {})
    return list(_fields("", _followed(schema, definitions), definitions))


def _fields(prefix: str, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[MessageField]:
    required = schema.get("required", [])
    for name, inner in schema.get("properties", {}).items():
        found = _followed(inner, definitions)
        path = f"{prefix}.{name}" if prefix else name
        yield MessageField(path=path, type=_said(found, definitions), is_required=name in required)
        yield from _fields(path, found, definitions)
        if "items" in found:
            yield from _fields(f"{path}[]", _followed(found["items"], definitions), definitions)


def _followed(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference refers to."""
    if "$ref" not in schema:
        return schema
    found: Mapping[str, Any] = definitions[schema["$ref"].rsplit("/", 1)[-1]]
    return found


def _said(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_said(_followed(one, definitions), definitions) for one in schema["anyOf"])
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if schema.get("type") == "array":
        inner = _followed(schema.get("items", {}), definitions)
        return f"list, each of them: {_said(inner, definitions)}"
    word = _FORMATS.get(schema.get("format", "")) or _WORDS.get(str(schema.get("type", "")), "anything")
    return ", ".join([word, *_bounds(schema)])


def _bounds(schema: Mapping[str, Any]) -> Iterator[str]:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        yield f"{least} to {most}"
    elif least is not None:
        yield f"at least {least}"
    elif most is not None:
        yield f"at most {most}"
    if "maxLength" in schema:
        yield f"at most {schema['maxLength']} characters"
    if "pattern" in schema:
        yield f"like {schema['pattern']}"
