"""What may be forgotten: letters closed for long. And what may not: the keys of those that may be replayed."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from django.db import connections, transaction

from deadletters.collecting.amqp_values import column
from messaging.idempotency import action_key

_OLD = "closed_at < now() - %s * interval '1 day'"
_COUNT = f"SELECT count(*) FROM deadletters_deadletter WHERE {_OLD}"  # noqa: S608
_LOCK = (
    f"SELECT id FROM deadletters_deadletter WHERE {_OLD} ORDER BY closed_at LIMIT %s FOR UPDATE SKIP LOCKED"  # noqa: S608
)
# Who holds letters waits for none: others take them in the order of their ids, and this is another one.
_HELD_BY_FOLLOWERS = """
WITH followers AS MATERIALIZED (
    SELECT id FROM deadletters_deadletter WHERE follows_id = ANY(%s::uuid[]) FOR UPDATE SKIP LOCKED
)
SELECT follows_id FROM deadletters_deadletter
WHERE follows_id = ANY(%s::uuid[]) AND id NOT IN (SELECT id FROM followers)"""
_DELETE = """
UPDATE deadletters_deadletter SET follows_id = NULL WHERE follows_id = ANY(%s::uuid[]);
DELETE FROM deadletters_letteraction WHERE letter_id = ANY(%s::uuid[]);
DELETE FROM deadletters_letteredit WHERE letter_id = ANY(%s::uuid[]);
DELETE FROM deadletters_replay WHERE letter_id = ANY(%s::uuid[]);
DELETE FROM deadletters_deadletter WHERE id = ANY(%s::uuid[])"""

_NEEDED = """
SELECT given.key FROM unnest(%s::text[], %s::text[]) AS given (key, of_letter)
WHERE EXISTS (SELECT FROM deadletters_deadletter AS letter
              WHERE letter.idempotency_key = given.of_letter
                AND (letter.state IN ('open', 'replaying', 'discarded') OR letter.closed_at >= %s))"""


JOB_IS_DONE_WITH = (
    "NOT EXISTS (SELECT FROM deadletters_replay AS replay WHERE replay.job_id = deadletters_letterjob.id)"
)
"""SQL: a finished bulk job says where replays came from, and goes when the last of their letters has gone."""


def prune_closed(*, days: float, size: int, is_dry_run: bool = False) -> Iterator[int]:
    """Delete letters closed more than so many days ago, and all that belongs to them, oldest first; yields how many.

    A batch is a transaction; what another run is deleting, or an operator restores, is left alone, and so is what is
    followed by a letter that somebody else has in hand.
    """
    with connections["default"].cursor() as cursor:
        if is_dry_run:
            cursor.execute(_COUNT, [days])
            yield cursor.fetchone()[0]
            return
        while True:
            with transaction.atomic(using="default"):
                cursor.execute(_LOCK, [days, size])
                found = [letter_id for (letter_id,) in cursor.fetchall()]
                cursor.execute(_HELD_BY_FOLLOWERS, [found] * 2)
                held = {letter_id for (letter_id,) in cursor.fetchall()}
                ids = [letter_id for letter_id in found if letter_id not in held]
                if ids:
                    cursor.execute(_DELETE, [ids] * 5)
            yield len(ids)
            if len(found) < size or not ids:
                return


def needed_keys(keys: Sequence[str], *, before: datetime) -> set[str]:
    """Which of these idempotency keys a letter needs that may still be replayed, or restored and then replayed.

    So does one that was closed at this moment or later: a copy of its last replay may still be under way, and is not
    too old to be run. A compensation needs its action's key too.
    """
    asked = [(key, column(key)) for key in keys]
    asked += [
        (key, column(compensation)) for key in keys if (compensation := _compensation_of(key)) is not None
    ]
    if not asked:
        return set()
    with connections["default"].cursor() as cursor:
        cursor.execute(_NEEDED, [[key for key, _ in asked], [of_letter for _, of_letter in asked], before])
        return {key for (key,) in cursor.fetchall()}


def _compensation_of(key: str) -> str | None:
    """The key of the compensation that undoes the action with this key; None where it is no action's key."""
    stem, separator, kind = key.rpartition(":")
    compensation = f"{stem}{separator}compensation"
    return compensation if kind == "action" and action_key(compensation) == key else None
