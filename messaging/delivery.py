"""One delivery of a message by the broker, whoever received it: a Celery worker or the orchestrator."""

from collections.abc import Collection
from typing import Any

import msgspec

from contracts.catalogue import MESSAGE_TYPES
from contracts.message import Message
from messaging.envelope import Envelope
from messaging.errors import InvalidMessage


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What came over the wire: headers, decoded JSON payload, and how it came."""

    headers: dict[str, Any]
    payload: Any
    exchange: str
    routing_key: str
    is_redelivered: bool = False
    delivery_count: int = 0
    """How often the queue has handed it out before and got it back, as far as the broker counts that."""

    @property
    def was_delivered_before(self) -> bool:
        """Whether somebody had it in hand before: it may be what ended him."""
        return self.is_redelivered or self.delivery_count > 0


def open_message(delivery: Delivery, *, handled: Collection[str]) -> tuple[Envelope, Message]:
    """The envelope and the typed message; raises `InvalidMessage` saying what is wrong with it.

    `handled` are the wire types that the receiving service handles.
    """
    envelope = Envelope.from_headers(delivery.headers)
    message_type = MESSAGE_TYPES.get(envelope.type)
    if message_type is None:
        raise InvalidMessage(
            f"contracts/ has no message type {envelope.type!r}: a newer release may have sent it."
        )
    if envelope.type not in handled:
        raise InvalidMessage(f"This service has no handler for {envelope.type!r}.")
    try:
        return envelope, message_type.from_payload(delivery.payload)
    except (msgspec.ValidationError, UnicodeError) as error:  # half a surrogate is JSON, and no text
        raise InvalidMessage(f"The body is not a {envelope.type}: {error}.") from error
