"""What can be done with dead letters: many at once, in a few statements for each 500 of them.

A letter that may not move, because it is in another state or because it is no message of ours, stays as it is and is
named with the reason; the others go on.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from deadletters import statements
from deadletters.errors import ReasonMissing, Unreplayable
from deadletters.models import DeadLetter
from deadletters.outgoing import SERVICE, note_discarded_letter, replay_of
from deadletters.reading import envelope_of, is_sagas_own, saga_command
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
    due = available_at or at

    def replay_chunk(ids: Sequence[UUID], work: UnitOfWork, outcome: Outcome) -> None:
        pairs: list[tuple[UUID, UUID]] = []
        for letter_id, state, service, headers, body, deaths in _locked(_LOCK, ids, outcome):
            if state != DeadLetter.State.OPEN:
                outcome.refused[letter_id] = _is_not(DeadLetter.State.OPEN, state)
                continue
            replay_id = new_message_id()
            try:
                message = replay_of(
                    service=service,
                    headers=msgspec.json.decode(headers),
                    body=bytes(body),
                    deaths=msgspec.json.decode(deaths),
                    replay_id=replay_id,
                    available_at=due,
                )
            except Unreplayable as error:
                outcome.refused[letter_id] = str(error)
                continue
            pairs.append((letter_id, replay_id))
            work.outgoing.append(message)
        if pairs:
            begun = statements.begin_replays(
                pairs, by=by, reason=reason, at=at, available_at=due, is_automatic=False
            )
            outcome.done += [letter_id for (letter_id,) in answers(begun)]

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
    if not reason.strip():
        raise ReasonMissing("Say why these letters are discarded: their messages are never handled.")

    def discard_chunk(ids: Sequence[UUID], work: UnitOfWork, outcome: Outcome) -> None:
        headers = {}
        for letter_id, state, found in _locked(_LOCK_WITHOUT_BODY, ids, outcome):
            decoded = msgspec.json.decode(found)
            if state != DeadLetter.State.OPEN:
                outcome.refused[letter_id] = _is_not(DeadLetter.State.OPEN, state)
            elif is_sagas_own(decoded):
                outcome.refused[letter_id] = _SAGA_NEEDS_IT
            else:
                headers[letter_id] = decoded
        closed = statements.discard(list(headers), by=by, reason=reason, at=at)
        for (letter_id,) in answers(closed):
            outcome.done.append(letter_id)
            work.outgoing += _notes_of_discarding(letter_id, headers[letter_id], at)

    return _in_chunks(letters, discard_chunk, progress)


def restore(
    letters: Letters,
    *,
    by: str,
    reason: str,
    at: datetime,
    progress: Callable[[int], object] = lambda count: None,
) -> Outcome:
    """Open discarded letters again. A saga that was told has counted them as failed, and does not take that back."""

    def restore_chunk(ids: Sequence[UUID], work: UnitOfWork, outcome: Outcome) -> None:
        states = {letter_id: state for letter_id, state, _ in _locked(_LOCK_WITHOUT_BODY, ids, outcome)}
        opened = statements.restore(list(states), by=by, reason=reason, at=at)
        outcome.done += [letter_id for (letter_id,) in answers(opened)]
        for letter_id, state in states.items():
            if state != DeadLetter.State.DISCARDED:
                outcome.refused[letter_id] = _is_not(DeadLetter.State.DISCARDED, state)

    return _in_chunks(letters, restore_chunk, progress)


def resolve(replay_id: UUID, *, at: datetime) -> list[UUID]:
    """Close the letter of a replay that was handled, in the caller's transaction; a repeated report changes nothing.

    Where a copy of the replayed message has died meanwhile, the letter that came back is closed too: the message has
    been handled. Returns the letters that were closed. A report of an unknown replay (its letter was pruned, or the
    database is an older one) changes nothing and is logged.
    """
    ((is_known, closed),) = answers(statements.succeeded(replay_id, at=at))
    if not is_known:
        log.warning("replay %s has succeeded, but no letter here was replayed under that id", replay_id)
    return [UUID(letter_id) for letter_id in closed]


def _notes_of_discarding(letter_id: UUID, headers: Any, at: datetime) -> list[OutgoingMessage]:
    envelope = envelope_of(headers)
    command = None if envelope is None else saga_command(envelope)
    return [] if command is None else [note_discarded_letter(command, letter_id=letter_id, now=at)]


def _in_chunks(
    letters: Letters,
    handle: Callable[[Sequence[UUID], UnitOfWork, Outcome], None],
    progress: Callable[[int], object],
) -> Outcome:
    """Each chunk in its own transaction; an outcome counts only once it is committed."""
    whole = Outcome(done=[], refused={})
    for ids in _chunks(letters):
        outcome = Outcome(done=[], refused={})
        with unit_of_work(SERVICE) as work:
            handle(ids, work, outcome)
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


def _is_not(wanted: DeadLetter.State, state: str) -> str:
    return f"It is {state}, not {wanted.value}."
