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
FROM unnest(%s::text[], %s::text[]) AS claim (key, state) {condition}
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
SELECT {seen} FROM messaging_idempotencykey
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
    unless: Statement | None = None,
) -> set[str]:
    """Claim keys in the open transaction; returns those that were free.

    A key in `started` is claimed for a call to a gateway, with a lease; the others are claimed as finished. Waits
    for a transaction that is about to claim one of them. Where the query `unless` finds anything, none is claimed.
    """
    condition, unless_parameters = (
        ("", []) if unless is None else (f"WHERE NOT EXISTS ({unless[0]})", unless[1])
    )
    with connections[database].cursor() as cursor:
        cursor.execute(
            _CLAIM.format(condition=condition),
            [
                consumer,
                envelope.message_id,
                envelope.type,
                lease_until,
                now,
                now,
                list(keys),
                ["started" if key in started else "finished" for key in keys],
                *unless_parameters,
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
    held = look_up(key, consumer=consumer, database=database)
    assert held is not None, f"{consumer} has not claimed {key}"
    return held


def look_up(key: str, *, consumer: str, database: str) -> HeldKey | None:
    """Read a key and hold it until the transaction ends; None where nobody has claimed it."""
    with connections[database].cursor() as cursor:
        cursor.execute(_LOCK, [consumer, key])
        row = cursor.fetchone()
    if row is None:
        return None
    state, request, lease_until, fence, reply = row
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


def hold(key: str, *, fence: int, consumer: str, database: str, seeing: Statement) -> Any | None:
    """Lock the call, where it is still ours, until the transaction ends.

    Returns what the SQL expression `seeing` says at this moment, in the same round trip; None where another
    delivery has taken the call over.
    """
    expression, parameters = seeing
    with connections[database].cursor() as cursor:
        cursor.execute(_HOLD.format(seen=expression), [*parameters, consumer, key, fence])
        row = cursor.fetchone()
    return None if row is None else row[0]


def finish_statement(
    keys: Sequence[str], *, reply: OutgoingMessage | None, consumer: str, now: datetime
) -> Statement:
    """End what was begun under the keys, and keep the reply for duplicates of the message to be answered with."""
    kept = None if reply is None else msgspec.json.encode(reply).decode()
    return _FINISH, [kept, now, consumer, list(keys)]


def release_statement(key: str, *, fence: int, consumer: str, now: datetime) -> Statement:
    """Let the next attempt make the call without waiting for the lease to end."""
    return _RELEASE, [now, consumer, key, fence]
