"""A batch of dead letters into `default`: one transaction, a handful of statements however many letters there are."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings

from deadletters import statements
from deadletters.collecting.failures import Attempt, Failure, Failures
from deadletters.collecting.fingerprint import Fingerprint, fingerprint
from deadletters.collecting.reading import DELIVERY_LIMIT, Letter, envelope_of
from deadletters.collecting.words import words_of
from deadletters.errors import Unreplayable
from deadletters.outgoing import SERVICE, bring_wake_ups_forward, note_dead_letter, replay_of
from deadletters.statements import answers
from messaging.envelope import new_message_id
from messaging.failpoints import failpoint
from messaging.outbox_rows import OutgoingMessage
from messaging.unit_of_work import UnitOfWork, unit_of_work

COLLECTOR = "collector"
"""Who a replay that nobody asked for is requested by."""
AUTOMATIC = "It was delivered too often and no attempt of it has failed: it may only have been beside a poison message."


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch: letters that are new, and how many of them are replayed by themselves."""

    letters: list[UUID]
    replayed: int


class _Known(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A letter with what its service recorded of it; `failure` is None where that cannot be known yet."""

    letter: Letter
    failure: Failure | None
    group: Fingerprint

    @property
    def is_innocent(self) -> bool | None:
        """Whether it may only have been beside a poison message; None as long as that is unknown."""
        if self.letter.reason != DELIVERY_LIMIT or self.letter.replay_id is not None:
            return False
        return None if self.failure is None else not self.failure.exception


def store(letters: Sequence[Letter], *, failures: Failures) -> Stored:
    """Store the letters whose death is new, and all that follows from it, or nothing at all.

    A replay that a letter came back from has failed; its first letter is linked. A command's saga is told, unless the
    letter is replayed at once.
    """
    known = _with_failures(letters, failures)
    with unit_of_work(SERVICE) as work:
        answers(statements.upsert_groups(_groups(known)))
        rows = [_row(each) for each in known]
        new = {letter_id for (letter_id,) in answers(statements.insert_letters(rows, now=work.now))}
        fresh = [each for each in known if each.letter.id in new]
        returned = [
            (each.letter.id, each.letter.replay_id) for each in fresh if each.letter.replay_id is not None
        ]
        if returned:
            jobs = [job_id for (job_id,) in answers(statements.came_back(returned, now=work.now))]
            if jobs:
                # A bulk job stops because of this, so it is told at once.
                answers(bring_wake_ups_forward(jobs))
        replayed = _replay_innocent(fresh, work)
        for each in fresh:
            # What is not known to be innocent or not is told when its failure is filled in.
            if each.letter.id not in replayed and each.is_innocent is not None:
                work.outgoing += _note(each.letter, each.failure or Failure(), work.now)
        failpoint("collector.stored")
    return Stored(letters=sorted(new), replayed=len(replayed))


def fill_in(*, failures: Failures, limit: int = 100) -> int:
    """Look once more for failures that could not be asked for; returns how many letters are complete now.

    What had to wait for them follows in the same transaction: the automatic replay, or the note to the saga.
    """
    filled = 0
    for service in settings.SERVICES:
        found = [_reread(row) for row in answers(statements.unknown_failures(service, limit=limit))]
        # Asked with no transaction open: another database may take its time to answer, or not to.
        known = [each for each in _with_failures(found, failures) if each.failure is not None]
        if known:
            filled += _fill_in(known)
    return filled


def _fill_in(known: Sequence[_Known]) -> int:
    with unit_of_work(SERVICE) as work:
        answers(statements.upsert_groups(_groups(known)))
        # Another collector may have completed some meanwhile, or is doing so now.
        states = dict(answers(statements.lock_incomplete([each.letter.id for each in known])))
        known = [each for each in known if each.letter.id in states]
        answers(statements.fill_in([_completion(each) for each in known]))
        waiting = [each for each in known if _waited(each.letter)]
        replayed = _replay_innocent([each for each in waiting if states[each.letter.id] == "open"], work)
        for each in waiting:
            if each.letter.id not in replayed and states[each.letter.id] in ("open", "replaying"):
                work.outgoing += _note(each.letter, each.failure or Failure(), work.now)
    return len(known)


def _with_failures(letters: Sequence[Letter], failures: Failures) -> list[_Known]:
    wanted: dict[str, list[Attempt]] = defaultdict(list)
    for letter in letters:
        if (attempt := _attempt(letter)) is not None:
            wanted[letter.service].append(attempt)
    found = {service: failures.of(service, attempts) for service, attempts in wanted.items()}
    return [_known(letter, found) for letter in letters]


def _known(letter: Letter, found: dict[str, dict[Attempt, Failure] | None]) -> _Known:
    attempt, recorded = _attempt(letter), found.get(letter.service, {})
    failure: Failure | None = Failure()
    if attempt is not None:
        failure = None if recorded is None else recorded.get(attempt, Failure())
    return _Known(
        letter=letter,
        failure=failure,
        group=fingerprint(
            wire_type=letter.type,
            exception=failure.exception if failure else "",
            traceback=failure.traceback if failure else "",
            reason=letter.reason,
            service=letter.service,
        ),
    )


def _attempt(letter: Letter) -> Attempt | None:
    if letter.envelope is None:
        return None
    return letter.envelope.message_id, letter.envelope.replay_id, letter.envelope.attempt


def _waited(letter: Letter) -> bool:
    """Whether its replay or note had to wait for the failure."""
    return letter.reason == DELIVERY_LIMIT and letter.replay_id is None


def _replay_innocent(letters: Sequence[_Known], work: UnitOfWork) -> set[UUID]:
    """Send again, once, what was only counted with a poison message; returns the letters that are under way."""
    pairs: list[tuple[UUID, UUID]] = []
    messages: dict[UUID, OutgoingMessage] = {}
    for each in letters:
        if not each.is_innocent:
            continue
        letter, replay_id = each.letter, new_message_id()
        try:
            messages[letter.id] = replay_of(
                service=letter.service,
                headers=letter.headers,
                body=letter.body,
                deaths=letter.deaths,
                replay_id=replay_id,
                available_at=work.now,
            )
        except Unreplayable:
            continue
        pairs.append((letter.id, replay_id))
    if not pairs:
        return set()
    begun = statements.begin_replays(
        pairs,
        by=COLLECTOR,
        reason=AUTOMATIC,
        at=work.now,
        due=[work.now] * len(pairs),
        is_automatic=True,
    )
    replayed = {letter_id for (letter_id,) in answers(begun)}
    work.outgoing += [message for letter_id, message in messages.items() if letter_id in replayed]
    return replayed


def _note(letter: Letter, failure: Failure, now: datetime) -> list[OutgoingMessage]:
    command = letter.of_saga
    if command is None:
        return []
    problem = failure.exception or f"dead-lettered by the broker: {letter.reason or 'no reason given'}"
    return [note_dead_letter(command, letter_id=letter.id, problem=problem, now=now)]


def _groups(known: Sequence[_Known]) -> list[dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for each in known:
        died_at = each.letter.died_at
        group = groups.setdefault(
            each.group.digest,
            {
                "fingerprint": each.group.digest,
                **msgspec.structs.asdict(each.group),
                "first_seen_at": died_at,
                "last_seen_at": died_at,
            },
        )
        group["first_seen_at"] = min(group["first_seen_at"], died_at)
        group["last_seen_at"] = max(group["last_seen_at"], died_at)
    return list(groups.values())


def _row(each: _Known) -> dict[str, Any]:
    row = msgspec.structs.asdict(each.letter)
    del row["envelope"]
    return {**row, **_completion(each), "is_failure_known": each.failure is not None}


def _completion(each: _Known) -> dict[str, Any]:
    failure = each.failure or Failure()
    return {
        "id": each.letter.id,
        "exception": failure.exception,
        "traceback": failure.traceback,
        "group_id": each.group.digest,
        "words": words_of(
            service=each.letter.service,
            wire_type=each.letter.type,
            exception=failure.exception,
            body=each.letter.body,
        ),
    }


def _reread(row: tuple[Any, ...]) -> Letter:
    """A letter as it was stored, as far as completing it needs."""
    letter_id, death, service, wire_type, reason, replay_id, headers, body, deaths, died_at = row
    decoded = msgspec.json.decode(headers)
    return Letter(
        id=letter_id,
        death=death,
        service=service,
        body=bytes(body),
        headers=decoded,
        reason=reason,
        deaths=msgspec.json.decode(deaths),
        type=wire_type,
        replay_id=replay_id,
        died_at=died_at,
        envelope=envelope_of(decoded),
    )
