"""A dead letter in words."""

from typing import Any

from django.conf import settings
from django.utils.html import format_html

from deadletters.models import DeadLetter, Replay
from eventstore.admin_columns import Tone, moment
from messaging.handling import policy_of
from messaging.topology import is_command

STATE_TONES = {
    DeadLetter.State.OPEN: Tone.BAD,
    DeadLetter.State.REPLAYING: Tone.WAITING,
    DeadLetter.State.RESOLVED: Tone.GOOD,
    DeadLetter.State.DISCARDED: Tone.UNDONE,
    DeadLetter.State.SUPERSEDED: Tone.QUIET,
}
REPLAY_TONES = {
    Replay.Outcome.OPEN: Tone.WAITING,
    Replay.Outcome.SUCCEEDED: Tone.GOOD,
    Replay.Outcome.FAILED: Tone.BAD,
}


def type_of(letter: DeadLetter) -> str:
    return letter.type or "no type that can be read"


def problem_of(letter: DeadLetter) -> str:
    """Why it died: the exception, else what the broker said."""
    if not letter.is_failure_known:
        return "the service's database could not be asked yet"
    return letter.exception or f"by the broker: {letter.reason or 'no reason given'}"


def attempt_of(letter: DeadLetter) -> str:
    """`attempt 8 of 8`, by the policy that its service has now; empty where the letter does not say."""
    if letter.attempt is None:
        return ""
    if letter.service not in settings.SERVICES or not letter.type:
        return f"attempt {letter.attempt}"
    return f"attempt {letter.attempt} of {policy_of(letter.service, letter.type).attempts}"


def has_died(letter: DeadLetter) -> str:
    """`Command to billing, attempt 8 of 8, died …`."""
    kind = "Command" if is_command(letter.type) else "Message" if not letter.type else "Event"
    tried = attempt_of(letter)
    return format_html(
        "{} to {}{}, died {}", kind, letter.service, f", {tried}" if tried else "", moment(letter.died_at)
    )


def quoted(value: Any) -> str:
    """A value of a header as a line of a table, whatever the sender has put there."""
    if isinstance(value, list):
        return ", ".join(quoted(inner) for inner in value)
    if isinstance(value, dict) and len(value) == 1:
        return quoted(next(iter(value.values())))
    return str(value)
