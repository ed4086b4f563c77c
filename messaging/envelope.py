"""The envelope: what travels with every message as Celery headers."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from messaging.errors import InvalidMessage


def new_message_id() -> UUID:
    """A UUIDv7: unique, and sorted by the time it was made."""
    return uuid7()


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who says what, about which order, because of which message."""

    message_id: UUID
    type: str
    idempotency_key: str
    correlation_id: str
    occurred_at: datetime
    causation_id: UUID | None = None
    saga_id: UUID | None = None
    step: str | None = None
    step_try: int | None = None
    stream: str | None = None
    sequence: int | None = None
    attempt: int = 1
    replay_id: UUID | None = None
    traceparent: str | None = None
    origin_exchange: str | None = None
    origin_routing_key: str | None = None

    def to_headers(self) -> dict[str, Any]:
        """The envelope and Celery's own headers (message protocol 2) as one flat table."""
        headers: dict[str, Any] = msgspec.to_builtins(self)
        headers["id"] = headers["message_id"]
        headers["task"] = self.type
        headers["lang"] = "py"
        headers["root_id"] = headers["message_id"]
        headers["parent_id"] = headers.get("causation_id")
        headers["argsrepr"] = headers["kwargsrepr"] = ""
        headers["ignore_result"] = True
        return headers

    @classmethod
    def from_headers(cls, headers: Any) -> "Envelope":
        """Read it back; raises `InvalidMessage` that names the header which is missing or wrong."""
        try:
            return msgspec.convert(headers, type=cls, strict=False)
        except (
            msgspec.ValidationError,
            UnicodeError,
        ) as error:  # half a surrogate pair is no text to msgspec
            raise InvalidMessage(f"The message's headers are not an envelope: {error}.") from error

    def following(self, *, attempt: int, came_by: tuple[str, str]) -> "Envelope":
        """The same message for a later attempt; `came_by` is the exchange and routing key it first came by."""
        exchange, routing_key = came_by
        return msgspec.structs.replace(
            self,
            attempt=attempt,
            origin_exchange=self.origin_exchange if self.origin_exchange is not None else exchange,
            origin_routing_key=self.origin_routing_key
            if self.origin_routing_key is not None
            else routing_key,
        )


def utc_now() -> datetime:
    return datetime.now(UTC)
