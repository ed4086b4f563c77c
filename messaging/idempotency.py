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
from messaging import retention
from messaging.envelope import Envelope
from messaging.errors import Expired
from messaging.ordering import order_of
from messaging.outbox_rows import OutgoingMessage

_ACTION = ":action"
_COMPENSATION = ":compensation"
_QUESTION = ":question:"

_CLAIM = f"""
INSERT INTO messaging_idempotencykey (consumer, key, state, message_id, type, request, lease_until, fence,
                                      claimed_at, finished_at)
SELECT %s, key, state, %s, %s, NULL, CASE state WHEN 'started' THEN %s::timestamptz END,
       CASE state WHEN 'started' THEN 1 ELSE 0 END, %s, CASE state WHEN 'finished' THEN %s::timestamptz END
FROM unnest(%s::text[], %s::text[]) AS claim (key, state)
WHERE NOT {retention.IS_TOO_OLD} {{condition}}
ORDER BY key
ON CONFLICT (consumer, key) DO NOTHING
RETURNING key"""  # noqa: S608 - the part is a constant of ours

_CLAIM_BATCH = f"""
INSERT INTO messaging_idempotencykey (consumer, key, state, message_id, type, fence, claimed_at, finished_at)
SELECT DISTINCT ON (key) %s, key, 'finished', message_id, type, 0, %s::timestamptz, %s::timestamptz
FROM unnest(%s::text[], %s::uuid[], %s::text[], %s::timestamptz[], %s::int[])
     AS claim (key, message_id, type, dated, place)
WHERE coalesce(dated >= {retention.KEPT_SINCE}, true)
ORDER BY key, place
ON CONFLICT (consumer, key) DO NOTHING
RETURNING key"""  # noqa: S608

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

_FINISH_BATCH = """
UPDATE messaging_idempotencykey AS claimed
SET reply = given.reply, finished_at = %s
FROM unnest(%s::text[], %s::jsonb[]) AS given (key, reply)
WHERE claimed.consumer = %s AND claimed.key = given.key AND claimed.reply IS NULL"""

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


def asked_about(key: str) -> str | None:
    """The key of the action that a question with this key is about; None where it is no question's key."""
    action, separator, number = key.rpartition(_QUESTION)
    return action + _ACTION if separator and number.isdigit() else None


def keys_of(key: str) -> list[str]:
    """The keys that a message under this key needs: a compensation's its action's too."""
    action = action_key(key)
    return [key] if action is None else [action, key]


def saga_key(*, saga_id: UUID, step: str, step_try: int, is_compensation: bool) -> str:
    return f"{saga_id}:{step}:{step_try}{_COMPENSATION if is_compensation else _ACTION}"


def question_key(*, saga_id: UUID, step: str, step_try: int, number: int) -> str:
    """The key of the question what became of a step's command; each question has another number."""
    return f"{saga_id}:{step}:{step_try}{_QUESTION}{number}"


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
    for a transaction that is about to claim one of them. Of a message whose key may have been pruned none is free,
    and none is claimed where the query `unless` finds anything.
    """
    condition, unless_parameters = (
        ("", []) if unless is None else (f"AND NOT EXISTS ({unless[0]})", unless[1])
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
                _dated(envelope, consumer=consumer),
                consumer,
                *unless_parameters,
            ],
        )
        return {key for (key,) in cursor.fetchall()}


def _dated(envelope: Envelope, *, consumer: str) -> datetime | None:
    """As `retention.dated`; what is consumed in order is never too old: its stream's position tells copies apart."""
    return None if order_of(consumer, envelope.type) is not None else retention.dated(envelope)


def claim_batch(
    claims: Sequence[tuple[Envelope, Sequence[str]]], *, consumer: str, database: str, now: datetime
) -> set[str]:
    """Claim the keys of many messages in one statement, in sorted order; returns those that were free.

    Each message comes with the keys that it needs. Of a message whose key may have been pruned none is free.
    """
    rows = [
        (key, envelope.message_id, envelope.type, retention.dated(envelope), place)
        for place, (envelope, keys) in enumerate(claims)
        for key in keys
    ]
    columns = [[row[column] for row in rows] for column in range(5)]
    with connections[database].cursor() as cursor:
        cursor.execute(_CLAIM_BATCH, [consumer, now, now, *columns, consumer])
        return {key for (key,) in cursor.fetchall()}


def make_sure_claimed(keys: Sequence[str], *, consumer: str, database: str) -> None:
    """Raises `Expired` where one of these keys, which could not be claimed, is not there either."""
    with connections[database].cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM messaging_idempotencykey WHERE consumer = %s AND key = ANY(%s)",
            [consumer, list(keys)],
        )
        (found,) = cursor.fetchone()
    if found < len(set(keys)):
        raise _expired(consumer)


def _expired(consumer: str) -> Expired:
    return Expired(
        f"The message is older than the keys that {consumer} keeps, so nobody knows whether it was handled. "
        "Find out what it did, then replay or discard it."
    )


def lock(key: str, *, consumer: str, database: str) -> HeldKey:
    """Read a key that could not be claimed, and hold it until the transaction ends.

    Raises `Expired` where there is none: then it was refused, because it may have been claimed and pruned.
    """
    held = look_up(key, consumer=consumer, database=database)
    if held is None:
        raise _expired(consumer)
    return held


def look_up(key: str, *, consumer: str, database: str) -> HeldKey | None:
    """Read a key and hold it until the transaction ends; None where there is none."""
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


def finish_batch_statement(
    replies: Sequence[tuple[str, OutgoingMessage]], *, consumer: str, now: datetime
) -> Statement:
    """Keep the replies of many messages with their keys, which were claimed as finished."""
    encoded = [msgspec.json.encode(reply).decode() for _, reply in replies]
    return _FINISH_BATCH, [now, [key for key, _ in replies], encoded, consumer]


def release_statement(key: str, *, fence: int, consumer: str, now: datetime) -> Statement:
    """Let the next attempt make the call without waiting for the lease to end."""
    return _RELEASE, [now, consumer, key, fence]
