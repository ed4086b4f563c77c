"""The SQL of dead letters. Each statement takes a whole batch, and moves a letter only from where it may move."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connections

from eventstore.store import Statement

_GROUPS = """
INSERT INTO deadletters_lettergroup (fingerprint, type, exception_class, frame, first_seen_at, last_seen_at)
SELECT fingerprint, type, exception_class, frame, first_seen_at, last_seen_at
FROM json_to_recordset(%s::json)
     AS given (fingerprint text, type text, exception_class text, frame text, first_seen_at timestamptz,
               last_seen_at timestamptz)
ORDER BY fingerprint
ON CONFLICT (fingerprint) DO UPDATE SET
    first_seen_at = LEAST(deadletters_lettergroup.first_seen_at, excluded.first_seen_at),
    last_seen_at = GREATEST(deadletters_lettergroup.last_seen_at, excluded.last_seen_at)"""

_LETTERS = """
INSERT INTO deadletters_deadletter (
    id, death, service, state, body, headers, properties, reason, deaths, message_id, type, correlation_id,
    idempotency_key, saga_id, step, attempt, replay_id, words, exception, traceback, is_failure_known, group_id,
    died_at, collected_at)
SELECT id, death, service, 'open', decode(body, 'base64'), headers, properties, reason, deaths, message_id, type,
       correlation_id, idempotency_key, saga_id, step, attempt, replay_id, words, exception, traceback,
       is_failure_known, group_id, died_at, %s
FROM json_to_recordset(%s::json)
     AS given (id uuid, death text, service text, body text, headers jsonb, properties jsonb, reason text,
               deaths jsonb, message_id uuid, type text, correlation_id text, idempotency_key text, saga_id uuid,
               step text, attempt int,
               replay_id uuid, words tsvector, exception text, traceback text, is_failure_known boolean, group_id text,
               died_at timestamptz)
ORDER BY death
ON CONFLICT (death) DO NOTHING
RETURNING id"""

# Letters before replays, and in the order of their ids, as everybody takes them. The statement after it sees what was
# committed by whoever had them.
_LOCK_RETURNED = """
SELECT FROM deadletters_deadletter WHERE id IN (
    SELECT letter.id FROM deadletters_replay AS replay
    JOIN deadletters_deadletter AS earlier ON earlier.id = replay.letter_id
    JOIN deadletters_deadletter AS letter ON letter.id IN (earlier.id, earlier.follows_id)
    WHERE replay.id = ANY(%s::uuid[])
) ORDER BY id FOR NO KEY UPDATE;"""
_CAME_BACK = """
WITH given AS (
    SELECT letter_id, replay_id FROM unnest(%s::uuid[], %s::uuid[]) AS given (letter_id, replay_id)
), failed AS (
    UPDATE deadletters_replay AS replay SET outcome = 'failed', finished_at = %s
    FROM given WHERE replay.id = given.replay_id AND replay.outcome = 'open'
    RETURNING replay.letter_id, replay.job_id
), superseded AS (
    UPDATE deadletters_deadletter AS letter SET state = 'superseded', closed_at = %s
    FROM failed WHERE letter.id = failed.letter_id AND letter.state = 'replaying'
), linked AS (
    UPDATE deadletters_deadletter AS letter SET follows_id = COALESCE(earlier.follows_id, earlier.id)
    FROM given
    JOIN deadletters_replay AS replay ON replay.id = given.replay_id
    JOIN deadletters_deadletter AS earlier ON earlier.id = replay.letter_id
    WHERE letter.id = given.letter_id
)
SELECT DISTINCT job_id FROM failed WHERE job_id IS NOT NULL"""

_BEGIN_REPLAYS = """
WITH given AS (
    SELECT letter_id, replay_id, due
    FROM unnest(%s::uuid[], %s::uuid[], %s::timestamptz[]) AS given (letter_id, replay_id, due)
), moved AS (
    UPDATE deadletters_deadletter AS letter SET state = 'replaying'
    FROM given WHERE letter.id = given.letter_id AND letter.state = 'open'
    RETURNING letter.id
), begun AS (
    INSERT INTO deadletters_replay (id, letter_id, outcome, requested_by, requested_at, reason, is_automatic,
                                    job_id, available_at)
    SELECT given.replay_id, moved.id, 'open', %s, %s, %s, %s, %s, given.due
    FROM given JOIN moved ON moved.id = given.letter_id
    RETURNING letter_id
), logged AS (
    INSERT INTO deadletters_letteraction (letter_id, kind, by, at, reason)
    SELECT letter_id, %s, %s, %s, %s FROM begun
)
SELECT letter_id FROM begun"""

_REFUSE = """
INSERT INTO deadletters_letteraction (letter_id, kind, by, at, reason, refusal)
SELECT letter.id, 'refused', %s, %s, %s, given.refusal
FROM (
    SELECT id FROM deadletters_deadletter WHERE id = ANY(%s::uuid[]) ORDER BY id FOR KEY SHARE
) AS letter
JOIN unnest(%s::uuid[], %s::text[]) AS given (letter_id, refusal) ON given.letter_id = letter.id"""
"""Letters that are being pruned are waited for, and passed over: the foreign key would find out at the commit."""

_CLOSE = """
WITH moved AS (
    UPDATE deadletters_deadletter SET state = %s, closed_at = %s
    WHERE id = ANY(%s::uuid[]) AND state = %s RETURNING id
), logged AS (
    INSERT INTO deadletters_letteraction (letter_id, kind, by, at, reason) SELECT id, %s, %s, %s, %s FROM moved
)
SELECT id FROM moved"""

_LOCK_REPLAYED = """
SELECT FROM deadletters_deadletter
WHERE id = (SELECT letter_id FROM deadletters_replay WHERE id = %s) OR replay_id = %s
ORDER BY id FOR NO KEY UPDATE;"""
_SUCCEEDED = """
WITH replay AS (
    UPDATE deadletters_replay SET outcome = 'succeeded', finished_at = %s
    WHERE id = %s AND outcome <> 'succeeded' RETURNING id, letter_id, job_id
), closed AS (
    UPDATE deadletters_deadletter AS letter SET state = 'resolved', closed_at = %s FROM replay
    WHERE (letter.id = replay.letter_id AND letter.state = 'replaying')
       OR (letter.replay_id = replay.id AND letter.state = 'open')
    RETURNING letter.id
)
SELECT EXISTS (SELECT FROM deadletters_replay WHERE id = %s), ARRAY (SELECT id FROM closed)::text[],
       (SELECT job_id FROM replay
        WHERE NOT EXISTS (SELECT FROM deadletters_replay AS other
                          WHERE other.job_id = replay.job_id AND other.outcome = 'open' AND other.id <> replay.id))"""

_UNKNOWN_FAILURES = """
SELECT id, death, service, type, reason, replay_id, headers::text, body, deaths::text, died_at
FROM deadletters_deadletter WHERE NOT is_failure_known AND service = %s ORDER BY id LIMIT %s"""

_LOCK_INCOMPLETE = """
SELECT id, state FROM deadletters_deadletter
WHERE id = ANY(%s::uuid[]) AND NOT is_failure_known ORDER BY id FOR UPDATE SKIP LOCKED"""

_FILL_IN = """
UPDATE deadletters_deadletter AS letter
SET exception = given.exception, traceback = given.traceback, group_id = given.group_id, is_failure_known = true,
    words = given.words
FROM json_to_recordset(%s::json) AS given (id uuid, exception text, traceback text, group_id text, words tsvector)
WHERE letter.id = given.id AND NOT letter.is_failure_known"""


def upsert_groups(groups: Sequence[dict[str, Any]]) -> Statement:
    """Make sure of the groups, locked in one order whoever comes."""
    return _GROUPS, [_json(groups)]


def insert_letters(letters: Sequence[dict[str, Any]], *, now: datetime) -> Statement:
    """Store the letters; answers the ids of those whose death is new."""
    return _LETTERS, [now, _json(letters)]


def came_back(pairs: Sequence[tuple[UUID, UUID]], *, now: datetime) -> Statement:
    """End the replays that these new letters, each with its replay id, came back from, and link them to the first.

    Answers the bulk jobs whose replays those were.
    """
    letters, replays = [letter for letter, _ in pairs], [replay for _, replay in pairs]
    return _LOCK_RETURNED + _CAME_BACK, [replays, letters, replays, now, now]


def begin_replays(
    pairs: Sequence[tuple[UUID, UUID]],
    *,
    by: str,
    reason: str,
    at: datetime,
    due: Sequence[datetime],
    is_automatic: bool = False,
    job_id: UUID | None = None,
    is_edited: bool = False,
) -> Statement:
    """Open a replay for each letter that is open, each with its own time in `due`; answers the ids of those letters."""
    letters, replays = [letter for letter, _ in pairs], [replay for _, replay in pairs]
    begun = [letters, replays, list(due), by, at, reason, is_automatic, job_id]
    return _BEGIN_REPLAYS, [*begun, "edited" if is_edited else "replayed", by, at, reason]


def refuse(refusals: Mapping[UUID, str], *, by: str, reason: str, at: datetime) -> Statement:
    """Write down, with each letter that there is, what was wanted of it and why it was not done."""
    letters = list(refusals)
    return _REFUSE, [by, at, reason, letters, letters, list(refusals.values())]


def discard(ids: Sequence[UUID], *, by: str, reason: str, at: datetime) -> Statement:
    """Discard the letters that are open; answers their ids."""
    return _CLOSE, ["discarded", at, list(ids), "open", "discarded", by, at, reason]


def restore(ids: Sequence[UUID], *, by: str, reason: str, at: datetime) -> Statement:
    """Open the letters that are discarded; answers their ids."""
    return _CLOSE, ["open", None, list(ids), "discarded", "restored", by, at, reason]


def succeeded(replay_id: UUID, *, at: datetime) -> Statement:
    """Close the replay's letter; answers whether the replay is known, which letters were closed, and its bulk job, if
    that awaits no other replay."""
    return _LOCK_REPLAYED + _SUCCEEDED, [replay_id, replay_id, at, replay_id, at, replay_id]


def unknown_failures(service: str, *, limit: int) -> Statement:
    """The oldest letters of this service whose failure is not known yet."""
    return _UNKNOWN_FAILURES, [service, limit]


def lock_incomplete(ids: Sequence[UUID]) -> Statement:
    """Lock those whose failure is still not known; answers their ids and states."""
    return _LOCK_INCOMPLETE, [list(ids)]


def fill_in(letters: Sequence[dict[str, Any]]) -> Statement:
    """Add what was recorded of the letters."""
    return _FILL_IN, [_json(letters)]


def answers(statement: Statement) -> list[tuple[Any, ...]]:
    """Run it in `default`; the rows that it answers, if it answers any."""
    with connections["default"].cursor() as cursor:
        cursor.execute(*statement)
        return list(cursor.fetchall()) if cursor.description else []


def _json(rows: Sequence[dict[str, Any]]) -> str:
    return msgspec.json.encode(rows).decode()
