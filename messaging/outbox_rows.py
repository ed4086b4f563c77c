"""The outbox table's SQL: rows are written in the sender's transaction and wake the relay when it commits."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from eventstore.store import Statement
from messaging.envelope import Envelope

CHANNEL = "outbox"
"""The PostgreSQL notification that wakes the relay."""

_INSERT = """
INSERT INTO messaging_outboxmessage (message_id, known_key, service, type, exchange, routing_key, headers, body,
                                     available_at, created_at, failures, last_error, waits_for)
SELECT message_id, known_key, service, type, exchange, routing_key, headers, body, available_at, now(), 0, '', %s
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::jsonb[], %s::jsonb[],
            %s::timestamptz[])
     AS given (message_id, known_key, service, type, exchange, routing_key, headers, body, available_at)
ON CONFLICT (known_key) DO UPDATE SET
    message_id = excluded.message_id, headers = excluded.headers, body = excluded.body,
    available_at = excluded.available_at"""

_BRING_FORWARD = """
WITH waiting AS (
    SELECT id FROM messaging_outboxmessage WHERE known_key = ANY(%s) AND available_at > now() FOR UPDATE SKIP LOCKED
)
UPDATE messaging_outboxmessage AS row SET available_at = now() FROM waiting WHERE row.id = waiting.id;
SELECT pg_notify(%s, '')"""


class OutgoingMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A row to be: the message, where it goes first, and from when on."""

    envelope: Envelope
    body: dict[str, Any]
    service: str
    exchange: str
    routing_key: str
    available_at: datetime
    known_key: str | None = None


def insert_statement(messages: Sequence[OutgoingMessage], *, waits_for: str = "") -> Statement:
    """Insert the rows in order; a row with a known key that is already waiting is moved instead.

    `waits_for` names the gateway whose circuit breaker holds them back.
    """
    return _INSERT, [
        waits_for,
        [message.envelope.message_id for message in messages],
        [message.known_key for message in messages],
        [message.service for message in messages],
        [message.envelope.type for message in messages],
        [message.exchange for message in messages],
        [message.routing_key for message in messages],
        [msgspec.json.encode(message.envelope).decode() for message in messages],
        [msgspec.json.encode(message.body).decode() for message in messages],
        [message.available_at for message in messages],
    ]


def delete_statement(known_keys: Sequence[str]) -> Statement:
    """Take back rows that are still waiting."""
    return "DELETE FROM messaging_outboxmessage WHERE known_key = ANY(%s)", [list(known_keys)]


def bring_forward_statement(known_keys: Sequence[str]) -> Statement:
    """Make rows that wait for later due at once, and wake the relay.

    A row that is not there, or that somebody else is writing or sending at this moment, is left alone. So this waits
    for nobody, and whoever relies on it needs a time that comes by itself too.
    """
    return _BRING_FORWARD, [list(known_keys), CHANNEL]


def wake_relay_statement() -> Statement:
    """Delivered by PostgreSQL to the listening relay when the transaction commits."""
    return "SELECT pg_notify(%s, '')", [CHANNEL]
