"""Which events a service consumes in the order of their stream.

    ordered("reporting", kind="payment", types=[PaymentAuthorized, PaymentCaptured, PaymentVoided])

A stream is consumed whole or not at all: a number that never comes would hold back everything after it. So the
service's queue is bound to every type of that kind of stream, and events without a handler only move the position.
"""

from collections.abc import Iterable

import msgspec

from contracts.message import Event
from messaging.envelope import Envelope
from messaging.errors import InvalidMessage


class Place(msgspec.Struct, frozen=True):
    """Where an event stands: the number `sequence` of its stream, from 1."""

    stream: str
    sequence: int


class Ordered(msgspec.Struct, frozen=True, kw_only=True):
    """A service's declaration that it consumes one kind of stream in order, from `starts_after` + 1 on."""

    service: str
    kind: str
    types: tuple[type[Event], ...]
    starts_after: int = 0

    def place_of(self, envelope: Envelope) -> Place:
        """The event's place; raises `InvalidMessage` where it has none in a stream of this kind."""
        stream, sequence = envelope.stream, envelope.sequence
        if stream is None or sequence is None or sequence < 1 or kind_of(stream) != self.kind:
            raise InvalidMessage(
                f"{envelope.type} came as number {sequence} of stream {stream!r}; {self.service} consumes it in the "
                f"order of {self.kind} streams, so it needs a number from 1 in a stream {self.kind}-...."
            )
        return Place(stream, sequence)


_declared: dict[tuple[str, str], Ordered] = {}


def kind_of(stream: str) -> str:
    """`payment-<uuid>` is a stream of the kind `payment`."""
    return stream.partition("-")[0]


def ordered(service: str, *, kind: str, types: Iterable[type[Event]], starts_after: int = 0) -> Ordered:
    """Declare that the service consumes streams of this kind in order.

    `types` are all types that occur in them, handled or not. A stream that the service meets for the first time
    begins behind `starts_after`: what comes before is passed over as seen.
    """
    declaration = Ordered(service=service, kind=kind, types=tuple(types), starts_after=starts_after)
    for event_type in declaration.types:
        identity = (service, event_type.wire_type)
        if not issubclass(event_type, Event):
            raise TypeError(f"{event_type.wire_type} is no event; only events have a place in a stream.")
        if identity in _declared:
            raise TypeError(
                f"{service} declares {event_type.wire_type} as ordered twice; it occurs in one kind of stream."
            )
        _declared[identity] = declaration
    return declaration


def order_of(service: str, wire_type: str) -> Ordered | None:
    """The order in which the service consumes this type; None where any order will do."""
    return _declared.get((service, wire_type))


def ordered_types() -> set[tuple[str, str]]:
    """Each service with each wire type that it consumes in order."""
    return set(_declared)
