"""Dead letters as a command tells them: as lines for people, or as values for JSON."""

from collections.abc import Iterable
from typing import Any

from deadletters import tallies
from deadletters.models import DeadLetter, LetterGroup
from deadletters.services import Outcome

LARGE = ("body", "headers", "properties", "deaths", "traceback", "words")
"""What a list of letters must not fetch."""


def summary(letter: DeadLetter) -> dict[str, Any]:
    """What identifies a letter and says what is wrong with it."""
    return {
        "id": letter.id,
        "state": letter.state,
        "service": letter.service,
        "type": letter.type,
        "message_id": letter.message_id,
        "correlation_id": letter.correlation_id,
        "attempt": letter.attempt,
        "reason": letter.reason,
        "exception": letter.exception,
        "fingerprint": letter.group_id,
        "died_at": letter.died_at,
    }


def line(letter: DeadLetter) -> str:
    """The letter in one line."""
    problem = letter.exception or letter.reason or "no reason given"
    return (
        f"{letter.id}  {letter.died_at:%Y-%m-%d %H:%M:%S}  {letter.state:<10}  {letter.service:<13}  "
        f"{letter.type or '-'}  {problem[:100]}"
    )


def details(letter: DeadLetter) -> dict[str, Any]:
    """Everything that is kept of a letter, and all that was done about it."""
    return {
        **summary(letter),
        "saga_id": letter.saga_id,
        "step": letter.step,
        "replay_id": letter.replay_id,
        "follows": letter.follows_id,
        "is_failure_known": letter.is_failure_known,
        "collected_at": letter.collected_at,
        "closed_at": letter.closed_at,
        "replays": list(
            letter.replays.order_by("requested_at").values(
                "id", "outcome", "requested_by", "reason", "available_at", "job_id"
            )
        ),
        "edits": list(
            letter.edits.order_by("proposed_at").values("id", "state", "proposed_by", "message_id", "reason")
        ),
        "actions": list(letter.actions.order_by("id").values("kind", "by", "at", "reason", "refusal")),
        "traceback": letter.traceback,
        "deaths": letter.deaths,
        "properties": letter.properties,
        "headers": letter.headers,
        "body": bytes(letter.body).decode(errors="backslashreplace"),
    }


def group_summary(group: LetterGroup, figures: tallies.GroupFigures) -> dict[str, Any]:
    """What a group has in common, and how many letters of it there are."""
    return {
        "fingerprint": group.fingerprint,
        "type": group.type,
        "exception_class": group.exception_class,
        "frame": group.frame,
        "open": figures.by_state.get("open", 0),
        "letters": sum(figures.by_state.values()),
        "by_state": figures.by_state,
        "services": figures.services,
        "orders": figures.orders,
        "deaths_by_hour": figures.by_hour,
        "first_seen_at": group.first_seen_at,
        "last_seen_at": group.last_seen_at,
    }


def group_line(told: dict[str, Any]) -> str:
    """The group in one line."""
    return (
        f"{told['fingerprint']}  {told['open']:>7} open of {told['letters']:<7}  "
        f"{told['last_seen_at']:%Y-%m-%d %H:%M:%S}  {told['type'] or '-'}  {told['exception_class']}  {told['frame']}"
    )


def outcome(done: Outcome) -> dict[str, Any]:
    """Which letters were moved, and why others were not."""
    return {
        "done": _texts(done.done),
        "refused": {str(letter): why for letter, why in done.refused.items()},
    }


def _texts(values: Iterable[Any]) -> list[str]:
    return [str(value) for value in values]
