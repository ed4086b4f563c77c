"""The sequence gate: lets an ordered consumer's events through one by one, as they stand in their stream.

The position is all the memory that is needed: an event is handled in the transaction that moves its stream's
position over it, so an event at or before the position was handled, however old the copy is. No idempotency key is
needed for it, and none is missed when keys are pruned.

The position's row is locked for as long as the transaction lasts. Two workers with events of one stream take turns;
events of different streams never wait for each other.
"""

from enum import StrEnum

import msgspec
from django.conf import settings
from django.db import connections

from eventstore.store import Statement
from messaging.delivery import Delivery
from messaging.envelope import Envelope
from messaging.ordering import Ordered, Place
from messaging.outbox_rows import CHANNEL
from messaging.unit_of_work import UnitOfWork

_LOCK = """
INSERT INTO messaging_streamposition (consumer, stream, last_sequence) VALUES (%s, %s, %s)
ON CONFLICT (consumer, stream) DO NOTHING;
SELECT last_sequence FROM messaging_streamposition WHERE consumer = %s AND stream = %s FOR UPDATE"""

# A replayed letter that is held back must not lose its replay id to a plain copy that is held already.
_HOLD_BACK = """
INSERT INTO messaging_heldbackmessage (consumer, stream, sequence, message_id, type, headers, body, held_at)
VALUES (%s, %s, %s, %s, %s, %s::jsonb, %s::jsonb, %s)
ON CONFLICT (consumer, stream, sequence) DO UPDATE SET headers = excluded.headers
WHERE excluded.headers ->> 'replay_id' IS NOT NULL"""

_MOVE = """
UPDATE messaging_streamposition SET last_sequence = %s
WHERE consumer = %s AND stream = %s AND last_sequence < %s"""

_LET_GO = """
WITH held AS (
    DELETE FROM messaging_heldbackmessage WHERE consumer = %s AND stream = %s AND sequence = %s
    RETURNING message_id, type, headers, body
), sent AS (
    INSERT INTO messaging_outboxmessage (message_id, service, type, exchange, routing_key, headers, body,
                                         available_at, created_at, failures, last_error)
    SELECT message_id, %s, type, '', %s, headers, body, %s, now(), 0, '' FROM held
    RETURNING 1
)
SELECT pg_notify(%s, '') FROM sent"""


class Turn(StrEnum):
    """Whether it is an event's turn."""

    NEXT = "next"
    SEEN = "seen"
    EARLY = "early"


def turn_of(sequence: int, *, last: int) -> Turn:
    """The turn of an event of a stream that is handled up to `last`."""
    if sequence <= last:
        return Turn.SEEN
    return Turn.NEXT if sequence == last + 1 else Turn.EARLY


def enter(order: Ordered, delivery: Delivery, *, envelope: Envelope, work: UnitOfWork) -> Turn:
    """Lock the position of the event's stream and say whether it is its turn; one that is early is held back.

    An event that is held back or was seen may be acknowledged after the commit. For the next one the caller adds
    `advance_statements`, in this transaction or in the one that stores the outcome. Raises `InvalidMessage` where
    the event has no place in such a stream.
    """
    place = order.place_of(envelope)
    turn = turn_of(place.sequence, last=lock(order.service, place.stream, starts_after=order.starts_after))
    if turn is Turn.EARLY:
        work.add_statement(_hold_back(place, delivery, envelope=envelope, work=work))
    return turn


def lock(service: str, stream: str, *, starts_after: int) -> int:
    """The position of the stream, locked until the transaction ends; a new stream begins behind `starts_after`."""
    with connections[settings.SERVICES[service]].cursor() as cursor:
        cursor.execute(_LOCK, [service, stream, starts_after, service, stream])
        return int(cursor.fetchone()[0])


def advance_statements(place: Place, *, work: UnitOfWork) -> list[Statement]:
    """Move the position over this place, and let the message go that was held back behind it, if there is one.

    It goes to the service's own queue, and frees the one behind it in its turn.
    """
    service, stream, sequence = work.service, place.stream, place.sequence
    return [
        (_MOVE, [sequence, service, stream, sequence]),
        (_LET_GO, [service, stream, sequence + 1, service, service, work.now, CHANNEL]),
    ]


def _hold_back(place: Place, delivery: Delivery, *, envelope: Envelope, work: UnitOfWork) -> Statement:
    held = envelope.following(attempt=envelope.attempt, came_by=(delivery.exchange, delivery.routing_key))
    return _HOLD_BACK, [
        work.service,
        place.stream,
        place.sequence,
        envelope.message_id,
        envelope.type,
        msgspec.json.encode(held).decode(),
        msgspec.json.encode(delivery.payload).decode(),
        work.now,
    ]
