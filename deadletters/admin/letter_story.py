"""What was done about a letter, and what else is known of its message: few statements, whatever there is."""

from datetime import datetime
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import Error, connections
from django.db.models import Q

from deadletters.models import DeadLetter
from deadletters.statements import answers
from messaging.models import FailedAttempt, HeldBackMessage

MOST = 50
"""Of each kind: attempts, letters, actions."""
MOST_FOLLOWERS = 10
_SHOWN = (
    "id",
    "type",
    "service",
    "state",
    "message_id",
    "follows_id",
    "exception",
    "reason",
    "is_failure_known",
    "died_at",
)

_STORY = """
WITH replays AS (
    SELECT id, outcome, requested_by, requested_at, reason, is_automatic, available_at, finished_at, job_id
    FROM deadletters_replay WHERE letter_id = %(letter)s ORDER BY requested_at DESC LIMIT %(most)s
), actions AS (
    SELECT kind, by, at, reason, refusal
    FROM deadletters_letteraction WHERE letter_id = %(letter)s ORDER BY id DESC LIMIT %(most)s
), entries AS (
    SELECT action, by, at, outcome, reason, detail, job_id
    FROM deadletters_deskentry WHERE letter_id = %(letter)s ORDER BY id DESC LIMIT %(most)s
), edits AS (
    SELECT id, state, message_id, proposed_by, proposed_at, reason, decided_by, decided_at
    FROM deadletters_letteredit WHERE letter_id = %(letter)s ORDER BY proposed_at DESC LIMIT %(most)s
)
SELECT (SELECT coalesce(json_agg(replays), '[]') FROM replays)::text,
       (SELECT coalesce(json_agg(actions), '[]') FROM actions)::text,
       (SELECT coalesce(json_agg(entries), '[]') FROM entries)::text,
       (SELECT coalesce(json_agg(edits), '[]') FROM edits)::text"""


class ToldReplay(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    outcome: str
    requested_by: str
    requested_at: datetime
    reason: str
    is_automatic: bool
    available_at: datetime
    finished_at: datetime | None
    job_id: UUID | None


class ToldAction(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    by: str
    at: datetime
    reason: str
    refusal: str


class ToldEntry(msgspec.Struct, frozen=True, kw_only=True):
    action: str
    by: str
    at: datetime
    outcome: str
    reason: str
    detail: str
    job_id: UUID | None


class ToldEdit(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    state: str
    message_id: UUID
    proposed_by: str
    proposed_at: datetime
    reason: str
    decided_by: str
    decided_at: datetime | None


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """The newest first, at most `MOST` of each."""

    replays: list[ToldReplay]
    actions: list[ToldAction]
    entries: list[ToldEntry]
    edits: list[ToldEdit]

    @property
    def other_entries(self) -> list[ToldEntry]:
        """Those of the operators' log that say more than the letter's own actions: the log names each move too."""
        moves = {(action.at, action.by) for action in self.actions}
        return [entry for entry in self.entries if (entry.at, entry.by) not in moves]


def story_of(letter_id: UUID) -> Story:
    """Everything that was done with this letter: one statement."""
    ((replays, actions, entries, edits),) = answers((_STORY, {"letter": letter_id, "most": MOST}))  # type: ignore[arg-type]
    return Story(
        replays=msgspec.json.decode(replays, type=list[ToldReplay]),
        actions=msgspec.json.decode(actions, type=list[ToldAction]),
        entries=msgspec.json.decode(entries, type=list[ToldEntry]),
        edits=msgspec.json.decode(edits, type=list[ToldEdit]),
    )


def other_letters(letter: DeadLetter) -> list[DeadLetter]:
    """Other letters of the same message, or of the same order: the newest first, without their bodies."""
    first = letter.follows_id or letter.id
    same = Q(follows_id=first) | Q(id=first)
    if letter.message_id is not None:
        same |= Q(message_id=letter.message_id)
    if letter.correlation_id:
        same |= Q(correlation_id=letter.correlation_id)
    found = DeadLetter.objects.filter(same).exclude(id=letter.id).only(*_SHOWN)
    return list(found.order_by("-died_at", "-id")[:MOST])


def attempts_of(letter: DeadLetter) -> list[FailedAttempt] | None:
    """What its service has recorded of every attempt at this message, newest first; None where it cannot be asked."""
    database = settings.SERVICES.get(letter.service)
    if database is None or letter.message_id is None:
        return []
    try:
        recorded = FailedAttempt.objects.using(database).filter(
            consumer=letter.service, message_id=letter.message_id
        )
        return list(recorded.order_by("-failed_at", "-id")[:MOST])
    except Error:
        _forget(database)
        return None


def held_behind(letter: DeadLetter) -> list[HeldBackMessage] | None:
    """Later events of its stream that its service holds back until this one is handled; None: it cannot be asked."""
    database = settings.SERVICES.get(letter.service)
    headers = letter.headers if isinstance(letter.headers, dict) else {}
    stream, sequence = headers.get("stream"), headers.get("sequence")
    if database is None or not isinstance(stream, str) or not isinstance(sequence, int):
        return []
    try:
        later = HeldBackMessage.objects.using(database).filter(
            consumer=letter.service, stream=stream, sequence__gt=min(sequence, 2**31 - 1)
        )
        return list(later.defer("headers", "body").order_by("sequence")[: MOST_FOLLOWERS + 1])
    except Error:
        _forget(database)
        return None


def _forget(database: str) -> None:
    """A broken connection is opened anew by the next page; `default` is this page's own."""
    if database != "default":
        connections[database].close()
