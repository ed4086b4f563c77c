"""What the page of one dead letter tells."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db.models import BinaryField
from django.db.models.functions import Length, Substr

from deadletters.admin.addresses import EDIT, GROUP, JOB, LETTER, page_link
from deadletters.admin.edits import STATE_TONES as EDIT_TONES
from deadletters.admin.letter_body import shown_body
from deadletters.admin.letter_story import (
    MOST_FOLLOWERS,
    Story,
    attempts_of,
    held_behind,
    other_letters,
    story_of,
)
from deadletters.admin.words import REPLAY_TONES, STATE_TONES, has_died, problem_of, quoted, type_of
from deadletters.models import DeadLetter, LetterAction, LetterEdit, Replay
from eventstore.admin_columns import Tone, badge, json_block, moment, page_of
from eventstore.private_text import scrubbed
from messaging.handling import policy_of
from messaging.models import FailedAttempt

MOST_READ = 256 * 1024
"""Bytes of a body that are fetched for its page; the whole of a larger one can be downloaded."""
BODY = {
    "size": Length("body"),
    "beginning": Substr("body", 1, MOST_READ, output_field=BinaryField()),
}
"""To be annotated, in place of the body itself."""


def told(letter: Any, *, is_hidden: bool, now: datetime) -> dict[str, Any]:
    """What the template asks for. `letter` carries `size` and `beginning` of its body beside its own fields."""
    body = shown_body(bytes(letter.beginning), size=letter.size, is_hidden=is_hidden)

    def readable(text: str) -> str:
        return scrubbed(text, known=body.private) if is_hidden else text

    letter.exception = readable(letter.exception)
    letter.traceback = readable(letter.traceback)
    story = story_of(letter.id)
    others = [_other(other, letter, is_hidden=is_hidden) for other in other_letters(letter)]
    attempts = attempts_of(letter)
    held = held_behind(letter)
    return {
        "letter": letter,
        "state": badge(letter.get_state_display(), STATE_TONES[DeadLetter.State(letter.state)]),
        "died": has_died(letter),
        "problem": problem_of(letter),
        "group": page_link(GROUP, str(letter.group), letter.group_id),
        "like_it": page_of("deadletters_deadletter", "all letters of this group", group=letter.group_id),
        "facts": list(_facts(letter)),
        "body": body,
        "is_body_hidden": is_hidden,
        "headers": json_block(letter.headers),
        "properties": json_block(letter.properties),
        "deaths": list(_deaths(letter.deaths)),
        "attempts": None if attempts is None else [_attempt(each, letter, readable) for each in attempts],
        "held": None if held is None else held[:MOST_FOLLOWERS],
        "are_more_held": held is not None and len(held) > MOST_FOLLOWERS,
        "same_message": [other for other in others if other["is_same"]],
        "same_order": [other for other in others if not other["is_same"]],
        "replays": [_replay(replay, now) for replay in story.replays],
        "edits": [_edit(edit) for edit in story.edits],
        "actions": sorted(_actions(story), key=lambda action: action["when"], reverse=True),
    }


def _facts(letter: DeadLetter) -> Iterator[tuple[str, str]]:
    yield "Order", _order(letter.correlation_id)
    if letter.saga_id is not None:
        saga = page_of("sagas_sagarecord", str(letter.saga_id), id=letter.saga_id)
        yield "Saga", saga
        yield "Step", letter.step or "–"
    yield "Message", str(letter.message_id or "no identifier that can be read")
    yield "Letter", str(letter.id)
    yield "The broker's reason", letter.reason or "–"
    yield "Died", moment(letter.died_at)
    yield "Collected", moment(letter.collected_at)
    if letter.closed_at is not None:
        yield "Closed", moment(letter.closed_at)
    if letter.follows_id is not None:
        yield "Came back from a replay of", page_link(LETTER, str(letter.follows_id), letter.follows_id)


def _order(correlation_id: str) -> str:
    if not correlation_id:
        return "–"
    try:
        return page_of("orders_order", correlation_id, id=UUID(correlation_id))
    except ValueError:
        return correlation_id


def _deaths(deaths: Any) -> Iterator[dict[str, str]]:
    for death in deaths if isinstance(deaths, list) else []:
        if isinstance(death, dict):
            yield {
                name: _time(death.get(field)) if field == "time" else quoted(death.get(field, "–"))
                for name, field in (
                    ("queue", "queue"),
                    ("reason", "reason"),
                    ("count", "count"),
                    ("time", "time"),
                    ("exchange", "exchange"),
                    ("routing_keys", "routing-keys"),
                )
            }


def _time(value: Any) -> str:
    """The broker's time, which it gives to the second; whatever else stands there as it is."""
    try:
        return moment(datetime.fromisoformat(value["$time"]).replace(tzinfo=UTC))
    except (TypeError, KeyError, ValueError):
        return "–" if value is None else quoted(value)


def _attempt(attempt: FailedAttempt, letter: DeadLetter, readable: Any) -> dict[str, Any]:
    is_last = attempt.next_attempt_at is None
    return {
        "number": f"attempt {attempt.attempt} of {policy_of(attempt.consumer, attempt.type).attempts}",
        "replay": "" if attempt.replay_id is None else f"of replay {attempt.replay_id}",
        "is_of_letter": (attempt.replay_id, attempt.attempt) == (letter.replay_id, letter.attempt),
        "then": badge("dead letter", Tone.BAD) if is_last else badge("tried again", Tone.WAITING),
        "at": moment(attempt.failed_at),
        "exception": readable(attempt.exception),
        "traceback": readable(attempt.traceback),
    }


def _other(other: DeadLetter, letter: DeadLetter, *, is_hidden: bool) -> dict[str, Any]:
    first = letter.follows_id or letter.id
    is_same = (other.message_id is not None and other.message_id == letter.message_id) or first in (
        other.id,
        other.follows_id,
    )
    return {
        "is_same": is_same,
        "id": other.id,
        "page": page_link(LETTER, type_of(other), other.id),
        "service": other.service,
        "state": badge(other.state, STATE_TONES[DeadLetter.State(other.state)]),
        "at": moment(other.died_at),
        "order": "earlier" if other.died_at < letter.died_at else "later",
        "problem": problem_of(other).split(":", 1)[0] if is_hidden and other.exception else problem_of(other),
    }


def _replay(replay: Any, now: datetime) -> dict[str, Any]:
    outcome = Replay.Outcome(replay.outcome)
    is_waiting = outcome is Replay.Outcome.OPEN and replay.available_at > now
    return {
        "id": replay.id,
        "outcome": badge("waits for its time" if is_waiting else outcome.label, REPLAY_TONES[outcome]),
        "by": replay.requested_by,
        "is_automatic": replay.is_automatic,
        "at": moment(replay.requested_at),
        "sent": moment(replay.available_at),
        "finished": moment(replay.finished_at),
        "reason": replay.reason,
        "job": "" if replay.job_id is None else page_link(JOB, f"bulk job {replay.job_id}", replay.job_id),
    }


def _edit(edit: Any) -> dict[str, Any]:
    state = LetterEdit.State(edit.state)
    return {
        "page": page_link(EDIT, "what was changed", edit.id),
        "state": badge(state.label, EDIT_TONES[state]),
        "message_id": edit.message_id,
        "by": edit.proposed_by,
        "at": moment(edit.proposed_at),
        "reason": edit.reason,
        "decided_by": edit.decided_by,
        "decided_at": moment(edit.decided_at),
    }


def _actions(story: Story) -> Iterator[dict[str, Any]]:
    for action in story.actions:
        is_refused = action.kind == LetterAction.Kind.REFUSED
        yield {
            "when": action.at,
            "at": moment(action.at),
            "what": badge(LetterAction.Kind(action.kind).label, Tone.BAD if is_refused else Tone.QUIET),
            "by": action.by,
            "why": action.reason,
            "said": action.refusal,
        }
    for entry in story.other_entries:
        is_refused = entry.outcome == "refused"
        job = "" if entry.job_id is None else page_link(JOB, f" in bulk job {entry.job_id}", entry.job_id)
        yield {
            "when": entry.at,
            "at": moment(entry.at),
            "what": badge(
                f"refused: {entry.action}" if is_refused else entry.action,
                Tone.BAD if is_refused else Tone.QUIET,
            ),
            "by": entry.by,
            "why": entry.reason,
            "said": entry.detail,
            "job": job,
        }
