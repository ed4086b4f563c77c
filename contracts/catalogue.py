"""Every message type, found by its wire type."""

import inspect
from types import ModuleType

from contracts import billing, inventory, operations, orders, sagas, shipping
from contracts.message import Command, Event, Message


def _types_in(*modules: ModuleType) -> dict[str, type[Message]]:
    found: dict[str, type[Message]] = {}
    for module in modules:
        for _, member in inspect.getmembers(module, inspect.isclass):
            if member.__module__ != module.__name__ or not issubclass(member, (Command, Event)):
                continue
            if member.wire_type in found:
                raise TypeError(
                    f"Two messages share the wire type {member.wire_type!r}; give one another name."
                )
            found[member.wire_type] = member
    return found


MESSAGE_TYPES: dict[str, type[Message]] = _types_in(billing, inventory, operations, orders, sagas, shipping)
