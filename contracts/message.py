"""What every message is: an immutable, typed value with a literal wire type.

The wire type (`inventory.reserve_stock.v1`) is `<owner>.<name>.v<version>`. It never names a class path,
so classes may be renamed and moved. A field that is removed or retyped needs a new version.
"""

from typing import Any, ClassVar, Self

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A command or an event. Its fields are its JSON body."""

    wire_type: ClassVar[str] = ""

    @classmethod
    def owner(cls) -> str:
        """The service that receives the command or publishes the event."""
        return cls.wire_type.split(".", 1)[0]

    def to_payload(self) -> dict[str, Any]:
        """The message as JSON-compatible builtins."""
        payload: dict[str, Any] = msgspec.to_builtins(self)
        return payload

    @classmethod
    def from_payload(cls, payload: Any) -> Self:
        """Build the message from decoded JSON; raises `msgspec.ValidationError` naming the field."""
        return msgspec.convert(payload, type=cls)


class Command(Message, frozen=True, kw_only=True):
    """An order to exactly one service, in the imperative."""

    @classmethod
    def routing_key(cls) -> str:
        """`<service>.<command>`: the version stays out, so that every version reaches the same queue."""
        return cls.wire_type.rsplit(".", 1)[0]


class Event(Message, frozen=True, kw_only=True):
    """A fact, in the past tense, published by the service that owns it."""

    @classmethod
    def routing_key(cls) -> str:
        """An event is routed by its full type."""
        return cls.wire_type
