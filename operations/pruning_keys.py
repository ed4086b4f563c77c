"""Pruning idempotency keys: which may go, and in which steps. `messaging.retention` says why these steps are safe.

A run deletes below the limit that an earlier run has raised, if that was long enough ago, and then raises it for a
later one. Every step is a transaction of its own and safe to repeat, alone or beside another run.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import connections

from deadletters.pruning import needed_keys
from messaging import idempotency
from messaging.failpoints import failpoint
from messaging.retention import CLOCK_TOLERANCE
from sagas import handlers as sagas

_RIPE = """
SELECT keys_kept_since FROM messaging_keyretention
WHERE service = %s AND raised_at <= now() - %s * interval '1 second'"""

_RAISE = """
INSERT INTO messaging_keyretention AS known (service, keys_kept_since, raised_at)
VALUES (%s, now() - %s * interval '1 day', now())
ON CONFLICT (service) DO UPDATE SET keys_kept_since = excluded.keys_kept_since, raised_at = excluded.raised_at
WHERE known.keys_kept_since < excluded.keys_kept_since
  AND known.raised_at <= now() - %s * interval '1 second'"""

_OLDEST = """
SELECT id, key, claimed_at, key = message_id::text FROM messaging_idempotencykey
WHERE consumer = %s AND state = 'finished' AND claimed_at < %s AND claimed_at >= %s
  AND (claimed_at, id) > (%s, %s)
ORDER BY claimed_at, id LIMIT %s"""

_DELETE = """
DELETE FROM messaging_idempotencykey WHERE state = 'finished' AND id IN (
    SELECT id FROM messaging_idempotencykey WHERE id = ANY(%s) ORDER BY id FOR UPDATE SKIP LOCKED
)"""

# A message id is a UUIDv7, so it sorts by age; whatever has another is taken to be old.
_WAITING = """
SELECT headers ->> 'idempotency_key' FROM messaging_outboxmessage
WHERE message_id < %s OR substr(message_id::text, 15, 1) <> '7'"""

_FINISHED_SAGAS = "SELECT id FROM sagas_sagarecord WHERE id = ANY(%s) AND finished_at < %s"


class Key(msgspec.Struct, frozen=True):
    """A key old enough to go. `is_own` where it is its message's id."""

    id: int
    key: str
    claimed_at: datetime
    is_own: bool


Keeper = Callable[[Sequence[Key], datetime], set[str]]
"""Which of these keys are still needed, given the moment before which all of them were claimed."""


class Batch(msgspec.Struct, frozen=True):
    """What became of some keys, or would."""

    pruned: int
    kept: int


def ripe_limit(service: str) -> datetime | None:
    """The moment before which this service's keys may be deleted now; None where that has to wait."""
    row = _row(service, _RIPE, [service, settings.KEY_DELETION_GRACE])
    return None if row is None else row[0] - CLOCK_TOLERANCE


def raise_limit(service: str) -> bool:
    """Commit that keys older than KEY_RETENTION_DAYS may be missing from now on; True where that is news.

    The limit never falls, and is left alone while the deletion that it is for has to wait.
    """
    with connections[settings.SERVICES[service]].cursor() as cursor:
        cursor.execute(_RAISE, [service, settings.KEY_RETENTION_DAYS, settings.KEY_DELETION_GRACE])
        return bool(cursor.rowcount)


def prune_keys(service: str, *, before: datetime, size: int, is_dry_run: bool = False) -> Iterator[Batch]:
    """Delete the service's finished keys claimed before this moment, oldest first, a batch in each transaction.

    What a keeper names stays, and is looked at again by the next run.
    """
    keepers = (keys_of_unfinished_sagas, keys_of_dead_letters, _among(waiting_keys(before)))
    place: tuple[datetime, int] = (datetime.min.replace(tzinfo=UTC), 0)
    database = settings.SERVICES[service]
    while True:
        with connections[database].cursor() as cursor:
            cursor.execute(_OLDEST, [service, before, place[0], *place, size])
            keys = [Key(*row) for row in cursor.fetchall()]
        if not keys:
            return
        place = keys[-1].claimed_at, keys[-1].id
        needed = {key for keeper in keepers for key in keeper(keys, before)}
        free = [key.id for key in keys if key.key not in needed]
        pruned = len(free)
        if free and not is_dry_run:
            with connections[database].cursor() as cursor:
                cursor.execute(_DELETE, [free])
                pruned = cursor.rowcount
            failpoint("prune.deleted")
        yield Batch(pruned, len(keys) - len(free))


def keys_of_unfinished_sagas(keys: Sequence[Key], before: datetime) -> set[str]:
    """Keys that are not a message's own id, but for those of sagas that were finished before this moment.

    A saga sends its command again under the same key in a new message, whose age says nothing of the key's; its last
    one is not younger than its end. What is nobody's known key is not ours to judge, and is kept.
    """
    of_saga = {key.key: _saga_of(key.key) for key in keys if not key.is_own}
    asked = sorted({saga_id for saga_id in of_saga.values() if saga_id is not None})
    finished: set[UUID | None] = set()
    if asked:
        with connections[settings.SERVICES[sagas.SERVICE]].cursor() as cursor:
            cursor.execute(_FINISHED_SAGAS, [asked, before])
            finished = {saga_id for (saga_id,) in cursor.fetchall()}
    return {key for key, saga_id in of_saga.items() if saga_id not in finished}


def waiting_keys(before: datetime) -> set[str]:
    """The keys of messages older than this moment that any outbox still holds: whoever consumes them, needs them."""
    oldest_young = UUID(int=int(before.timestamp() * 1000) << 80)
    waiting: set[str] = set()
    for database in sorted(set(settings.SERVICES.values())):
        with connections[database].cursor() as cursor:
            cursor.execute(_WAITING, [oldest_young])
            waiting.update(key for (key,) in cursor.fetchall() if key is not None)
    return waiting | {action for key in waiting if (action := idempotency.action_key(key)) is not None}


def keys_of_dead_letters(keys: Sequence[Key], before: datetime) -> set[str]:
    """Keys of dead letters, which may be replayed for as long as they are stored and not handled after all."""
    return needed_keys([key.key for key in keys], before=before)


def _among(needed: Iterable[str]) -> Keeper:
    known = frozenset(needed)
    return lambda keys, before: {key.key for key in keys if key.key in known}


def _saga_of(key: str) -> UUID | None:
    """The saga whose command has this key; None where it is no saga's."""
    try:
        return UUID(key.partition(":")[0]) if ":" in key else None
    except ValueError:
        return None


def _row(service: str, sql: str, parameters: list[Any]) -> tuple[Any, ...] | None:
    with connections[settings.SERVICES[service]].cursor() as cursor:
        cursor.execute(sql, parameters)
        row: tuple[Any, ...] | None = cursor.fetchone()
        return row
