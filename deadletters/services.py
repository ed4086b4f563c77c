"""What can be done with dead letters: many at once, in a few statements for each 500 of them.

A letter that may not move, because it is in another state or because it is no message of ours, stays as it is and is
named with the reason; the others go on.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from deadletters import statements
from deadletters.collecting.reading import envelope_of, is_sagas_own, saga_command
from deadletters.errors import ReasonMissing, Unreplayable
from deadletters.models import DeadLetter
from deadletters.outgoing import SERVICE, bring_wake_ups_forward, note_discarded_letter, replay_of
from deadletters.statements import answers
from messaging.envelope import new_message_id
from messaging.outbox_rows import OutgoingMessage
from messaging.unit_of_work import UnitOfWork, unit_of_work

log = logging.getLogger(__name__)

CHUNK = 500
"""Letters in one transaction."""

_LOCK = """
SELECT id, state, service, headers::text, body, deaths::text
FROM deadletters_deadletter WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE"""
_LOCK_WITHOUT_BODY = """
SELECT id, state, headers::text FROM deadletters_deadletter WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE"""

_SAGA_NEEDS_IT = (
    "It is what a saga tells itself, such as that a deadline has passed: without it the saga may wait for ever. "
    "Replay it; for a saga that is finished it changes nothing."
)

Letters = Iterable[DeadLetter | UUID]


class Outcome(msgspec.Struct, kw_only=True):
    """The letters that were moved, and those that stay with the reason, as sentences."""

    done: list[UUID]
    refused: dict[UUID, str]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants something of letters, why, and when that was said."""

    by: str
    reason: str
    at: datetime


def replay(
    letters: Letters,
    *,
    by: str,
    reason: str,
    at: datetime,
    available_at: datetime | None = None,
    progress: Callable[[int], object] = lambda count: None,
) -> Outcome:
    """Send the original messages again, each to the one queue where it died, now or from `available_at` on.

    The ids stay, so that what has had its effect already has no second one; attempts begin anew at 1. A letter is then
    `replaying` until its service reports success or another letter comes back. `progress` is told the sizes of chunks.
    """
    asked = Asked(by=by, reason=reason, at=at)

    def replay_chunk(ids: Sequence[UUID], work: UnitOfWork) -> Outcome:
        return begin_replays(ids, asked=asked, due=[available_at or at] * len(ids), work=work)

    return _in_chunks(letters, replay_chunk, progress)


def discard(
    letters: Letters,
    *,
    by: str,
    reason: str,
    at: datetime,
    progress: Callable[[int], object] = lambda count: None,
) -> Outcome:
    """Decide that the open letters are never handled; a saga whose command one was is told, and counts it as failed.

    Raises `ReasonMissing` without a reason.
    """
    need_reason(reason)
    return _in_chunks(letters, partial(close, asked=Asked(by=by, reason=reason, at=at)), progress)


def restore(
    letters: Letters,
    *,
    by: str,
    reason: str,
    at: datetime,
    progress: Callable[[int], object] = lambda count: None,
) -> Outcome:
    """Open discarded letters again. A saga that was told has counted them as failed, and does not take that back."""
    return _in_chunks(letters, partial(reopen, asked=Asked(by=by, reason=reason, at=at)), progress)


def begin_replays(
    ids: Sequence[UUID],
    work: UnitOfWork,
    *,
    asked: Asked,
    due: Sequence[datetime],
    job_id: UUID | None = None,
) -> Outcome:
    """Replay these letters with the caller's unit of work.

    The first that can be sent is due at the first time, the second at the second: there must be one for each letter.
    """
    outcome = Outcome(done=[], refused={})
    pairs: list[tuple[UUID, UUID]] = []
    messages: list[OutgoingMessage] = []
    for letter_id, state, service, headers, body, deaths in _locked(_LOCK, ids, outcome):
        if state != DeadLetter.State.OPEN:
            outcome.refused[letter_id] = is_not(DeadLetter.State.OPEN, state)
            continue
        replay_id = new_message_id()
        try:
            message = replay_of(
                service=service,
                headers=msgspec.json.decode(headers),
                body=bytes(body),
                deaths=msgspec.json.decode(deaths),
                replay_id=replay_id,
                available_at=due[len(messages)],
            )
        except Unreplayable as error:
            outcome.refused[letter_id] = str(error)
            continue
        pairs.append((letter_id, replay_id))
        messages.append(message)
    if pairs:
        statement = statements.begin_replays(
            pairs,
            by=asked.by,
            reason=asked.reason,
            at=asked.at,
            due=[message.available_at for message in messages],
            job_id=job_id,
        )
        outcome.done += [letter_id for (letter_id,) in answers(statement)]
        work.outgoing += messages
    refuse("replay", outcome.refused, asked=asked)
    return outcome


def close(ids: Sequence[UUID], work: UnitOfWork, *, asked: Asked) -> Outcome:
    """Discard these letters with the caller's unit of work."""
    outcome = Outcome(done=[], refused={})
    headers = {}
    for letter_id, state, found in _locked(_LOCK_WITHOUT_BODY, ids, outcome):
        decoded = msgspec.json.decode(found)
        if state != DeadLetter.State.OPEN:
            outcome.refused[letter_id] = is_not(DeadLetter.State.OPEN, state)
        elif is_sagas_own(decoded):
            outcome.refused[letter_id] = _SAGA_NEEDS_IT
        else:
            headers[letter_id] = decoded
    closed = statements.discard(list(headers), by=asked.by, reason=asked.reason, at=asked.at)
    for (letter_id,) in answers(closed):
        outcome.done.append(letter_id)
        work.outgoing += _notes_of_discarding(letter_id, headers[letter_id], asked.at)
    refuse("discard", outcome.refused, asked=asked)
    return outcome


def reopen(ids: Sequence[UUID], work: UnitOfWork, *, asked: Asked) -> Outcome:
    """Restore these letters with the caller's unit of work."""
    outcome = Outcome(done=[], refused={})
    states = {letter_id: state for letter_id, state, _ in _locked(_LOCK_WITHOUT_BODY, ids, outcome)}
    opened = statements.restore(list(states), by=asked.by, reason=asked.reason, at=asked.at)
    outcome.done += [letter_id for (letter_id,) in answers(opened)]
    for letter_id, state in states.items():
        if state != DeadLetter.State.DISCARDED:
            outcome.refused[letter_id] = is_not(DeadLetter.State.DISCARDED, state)
    refuse("restore", outcome.refused, asked=asked)
    return outcome


def refuse(wanted: str, refused: Mapping[UUID, str], *, asked: Asked) -> None:
    """Write down, with each of the letters, what was wanted of it and why it stays as it is."""
    if refused:
        told = {letter_id: f"{wanted}: {why}" for letter_id, why in refused.items()}
        answers(statements.refuse(told, by=asked.by, reason=asked.reason, at=asked.at))


def need_reason(reason: str) -> None:
    """Raise `ReasonMissing` where nobody says why letters are discarded."""
    if not reason.strip():
        raise ReasonMissing("Say why these letters are discarded: their messages are never handled.")


def is_not(wanted: DeadLetter.State, state: str) -> str:
    """Why a letter in this state stays as it is."""
    return f"It is {state}, not {wanted.value}."


def resolve(replay_id: UUID, *, at: datetime) -> list[UUID]:
    """Close the letter of a replay that was handled, in the caller's transaction; a repeated report changes nothing.

    Where a copy of the replayed message has died meanwhile, the letter that came back is closed too: the message has
    been handled. Returns the letters that were closed. A report of an unknown replay (its letter was pruned, or the
    database is an older one) changes nothing and is logged.
    """
    ((is_known, closed, job_id),) = answers(statements.succeeded(replay_id, at=at))
    if not is_known:
        log.warning("replay %s has succeeded, but no letter here was replayed under that id", replay_id)
    if job_id is not None:
        # Where the last two of a job end at once, neither sees it: then the job looks by itself, seconds later.
        answers(bring_wake_ups_forward([job_id]))
    return [UUID(letter_id) for letter_id in closed]


def _notes_of_discarding(letter_id: UUID, headers: Any, at: datetime) -> list[OutgoingMessage]:
    envelope = envelope_of(headers)
    command = None if envelope is None else saga_command(envelope)
    return [] if command is None else [note_discarded_letter(command, letter_id=letter_id, now=at)]


def _in_chunks(
    letters: Letters,
    handle: Callable[[Sequence[UUID], UnitOfWork], Outcome],
    progress: Callable[[int], object],
) -> Outcome:
    """Each chunk in its own transaction; an outcome counts only once it is committed."""
    whole = Outcome(done=[], refused={})
    for ids in _chunks(letters):
        with unit_of_work(SERVICE) as work:
            outcome = handle(ids, work)
        whole.done += outcome.done
        whole.refused |= outcome.refused
        progress(len(ids))
    return whole


def _chunks(letters: Letters) -> Iterator[list[UUID]]:
    chunk: list[UUID] = []
    for letter in letters:
        chunk.append(letter.id if isinstance(letter, DeadLetter) else letter)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _locked(sql: str, ids: Sequence[UUID], outcome: Outcome) -> list[tuple[Any, ...]]:
    """The rows of these letters, held until the transaction ends; those that are not there are refused."""
    rows = answers((sql, [list(ids)]))
    for letter_id in set(ids) - {row[0] for row in rows}:
        outcome.refused[letter_id] = "There is no such letter."
    return rows
