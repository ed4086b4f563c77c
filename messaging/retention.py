"""How long idempotency keys are kept, and which message is too old to be told apart from its own copy.

A key that is gone cannot refuse a copy of its message. So each service stores since when it has kept every key
(`keys_kept_since`), and a message older than that is not run: it becomes a dead letter, `Expired`, for a person.

What makes this safe is the order of three moments, kept by `operations.pruning`:

1. `keys_kept_since` is raised, and that is committed;
2. a grace period passes, longer than any statement that claims a key can last;
3. only then are keys deleted, and only such as were claimed before `keys_kept_since` less `CLOCK_TOLERANCE`.

A claim is one statement that looks for the key and for the limit. If it does not find the key because that was
deleted, it ran at or after 3, so its snapshot is not older than 2 and it sees the limit of 1: the message is
refused. Looking with two statements, or deleting in the transaction that raises, would leave a gap in which a
copy sees neither.
"""

from datetime import UTC, datetime, timedelta

from messaging.envelope import Envelope

CLOCK_TOLERANCE = timedelta(minutes=5)
"""By how much the clocks of two machines may differ: a message is dated by its sender, a key by its consumer."""

KEPT_SINCE = "(SELECT keys_kept_since FROM messaging_keyretention WHERE service = %s)"
"""SQL: the service's limit; NULL where nothing was ever pruned. Takes the service."""

IS_TOO_OLD = f"coalesce(%s::timestamptz < {KEPT_SINCE}, false)"
"""SQL, for the statement that claims the key: whether a message dated so (see `dated`) may have lost its key.

Takes the date, which may be NULL, and the service. It matters only where the key was free: a key that is still there
says more than its age, and its message is answered as any duplicate.
"""


def dated(envelope: Envelope) -> datetime | None:
    """The moment from which the message's age counts; None where it is never too old.

    That is when it was written or, for a replayed dead letter, when it was replayed: the keys of letters are kept for
    as long as they can be replayed. A replay id that holds no time (it is no UUIDv7) exempts its message for ever.
    """
    if envelope.replay_id is None:
        return envelope.occurred_at
    if envelope.replay_id.version != 7:
        return None
    return datetime.fromtimestamp((envelope.replay_id.int >> 80) / 1000, UTC)
