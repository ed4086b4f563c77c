"""Idempotency keys: a consumer claims a key once, in the transaction of what it does under that key.

The key of a saga's command is `<saga>:<step>:<try>:action` or `...:compensation`. A compensation claims its
action's key too. If the action has not arrived yet, it never will take effect: it finds its key claimed.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connections

from eventstore.store import Statement
from messaging.envelope import Envelope
from messaging.outbox_rows import OutgoingMessage

_ACTION = ":action"
_COMPENSATION = ":compensation"

_CLAIM = """
INSERT INTO messaging_idempotencykey (consumer, key, state, message_id, type, request, lease_until, fence,
                                      claimed_at, finished_at)
SELECT %s, key, state, %s, %s, NULL, CASE state WHEN 'started' THEN %s::timestamptz END,
       CASE state WHEN 'started' THEN 1 ELSE 0 END, %s, CASE state WHEN 'finished' THEN %s::timestamptz END
FROM unnest(%s::text[], %s::text[]) AS claim (key, state)
ORDER BY key
ON CONFLICT (consumer, key) DO NOTHING
RETURNING key"""

_LOCK = """
SELECT state, request::text, lease_until, fence, reply::text
FROM messaging_idempotencykey WHERE consumer = %s AND key = %s FOR UPDATE"""

_ASK = """
UPDATE messaging_idempotencykey SET request = %s::jsonb WHERE consumer = %s AND key = %s AND state = 'started'"""

_TAKE_OVER = """
UPDATE messaging_idempotencykey SET fence = fence + 1, lease_until = %s
WHERE consumer = %s AND key = %s AND state = 'started' RETURNING fence"""

_CLOSE = """
UPDATE messaging_idempotencykey
SET state = 'finished', fence = fence + 1, request = NULL, lease_until = NULL, finished_at = %s
WHERE consumer = %s AND key = %s AND state = 'started'"""

_HOLD = """
SELECT 1 FROM messaging_idempotencykey
WHERE consumer = %s AND key = %s AND state = 'started' AND fence = %s FOR UPDATE"""

_FINISH = """
UPDATE messaging_idempotencykey
SET state = 'finished', reply = %s::jsonb, request = NULL, lease_until = NULL, finished_at = %s
WHERE consumer = %s AND key = ANY(%s) AND reply IS NULL"""

_RELEASE = """
UPDATE messaging_idempotencykey SET lease_until = %s
WHERE consumer = %s AND key = %s AND state = 'started' AND fence = %s"""


class HeldKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as another delivery has left it; its row is locked until the transaction ends."""

    state: str
    request: dict[str, Any] | None
    lease_until: datetime | None
    fence: int
    reply: OutgoingMessage | None


def action_key(key: str) -> str | None:
    """The key of the action that this compensation's key undoes; None where it is no compensation's key."""
    if not key.endswith(_COMPENSATION):
        return None
    return key.removesuffix(_COMPENSATION) + _ACTION


def saga_key(*, saga_id: UUID, step: str, step_try: int, is_compensation: bool) -> str:
    return f"{saga_id}:{step}:{step_try}{_COMPENSATION if is_compensation else _ACTION}"


def claim(
    keys: Sequence[str],
    *,
    envelope: Envelope,
    consumer: str,
    database: str,
    now: datetime,
    started: Collection[str] = (),
    lease_until: datetime | None = None,
) -> set[str]:
    """Claim keys in the open transaction; returns those that were free.

    A key in `started` is claimed for a call to a gateway, with a lease; the others are claimed as finished. Waits
    for a transaction that is about to claim one of them.
    """
    with connections[database].cursor() as cursor:
        cursor.execute(
            _CLAIM,
            [
                consumer,
                envelope.message_id,
                envelope.type,
                lease_until,
                now,
                now,
                list(keys),
                ["started" if key in started else "finished" for key in keys],
            ],
        )
        return {key for (key,) in cursor.fetchall()}


def claim_messages(envelopes: Sequence[Envelope], *, consumer: str, database: str, now: datetime) -> set[str]:
    """Claim the keys of many messages in one statement, in sorted order; returns those that were free."""
    sql = """
        INSERT INTO messaging_idempotencykey (consumer, key, state, message_id, type, fence, claimed_at, finished_at)
        SELECT %s, key, 'finished', message_id, type, 0, %s, %s
        FROM unnest(%s::text[], %s::uuid[], %s::text[]) AS claim (key, message_id, type)
        ORDER BY key
        ON CONFLICT (consumer, key) DO NOTHING
        RETURNING key"""
    with connections[database].cursor() as cursor:
        cursor.execute(
            sql,
            [
                consumer,
                now,
                now,
                [envelope.idempotency_key for envelope in envelopes],
                [envelope.message_id for envelope in envelopes],
                [envelope.type for envelope in envelopes],
            ],
        )
        return {key for (key,) in cursor.fetchall()}


def lock(key: str, *, consumer: str, database: str) -> HeldKey:
    """Read a claimed key and hold it until the transaction ends."""
    with connections[database].cursor() as cursor:
        cursor.execute(_LOCK, [consumer, key])
        state, request, lease_until, fence, reply = cursor.fetchone()
    return HeldKey(
        state=state,
        request=msgspec.json.decode(request) if request else None,
        lease_until=lease_until,
        fence=fence,
        reply=msgspec.json.decode(reply, type=OutgoingMessage) if reply else None,
    )


def ask_statement(key: str, request: dict[str, Any], *, consumer: str) -> Statement:
    """Keep with a started call what the gateway is asked, for whoever takes the call over."""
    return _ASK, [msgspec.json.encode(request).decode(), consumer, key]


def take_over(key: str, *, consumer: str, database: str, lease_until: datetime) -> int:
    """Hold a started call whose lease has ended; returns the new fence, which shuts its former holder out."""
    with connections[database].cursor() as cursor:
        cursor.execute(_TAKE_OVER, [lease_until, consumer, key])
        return int(cursor.fetchone()[0])


def close(key: str, *, consumer: str, database: str, now: datetime) -> None:
    """End a started call for good: whoever still makes it cannot store what it learns."""
    with connections[database].cursor() as cursor:
        cursor.execute(_CLOSE, [now, consumer, key])


def is_held(key: str, *, fence: int, consumer: str, database: str) -> bool:
    """Whether the call is still ours, locked until the transaction ends."""
    with connections[database].cursor() as cursor:
        cursor.execute(_HOLD, [consumer, key, fence])
        return cursor.fetchone() is not None


def finish_statement(
    keys: Sequence[str], *, reply: OutgoingMessage | None, consumer: str, now: datetime
) -> Statement:
    """End what was begun under the keys, and keep the reply for duplicates of the message to be answered with."""
    kept = None if reply is None else msgspec.json.encode(reply).decode()
    return _FINISH, [kept, now, consumer, list(keys)]


def release_statement(key: str, *, fence: int, consumer: str, now: datetime) -> Statement:
    """Let the next attempt make the call without waiting for the lease to end."""
    return _RELEASE, [now, consumer, key, fence]
