"""A dry run in one plain sentence, for whoever has to decide about the letter."""

from deadletters.rehearsals.rehearsal import End, Handled

AWAY = "The database of {service} does not answer at present, so nothing could be tried."
BUSY = "Somebody else holds rows that it needs, so nothing could be tried: try again in a moment."
_LONGEST = 300


def of(handled: Handled) -> str:
    """How a message would end that no handler refuses."""
    match handled.end:
        case End.ANSWERED:
            return f"Nothing would be done again: {handled.why}. Its letter would be closed."
        case End.WAITS:
            return f"It would wait: {handled.why}."
        case End.ASKS:
            said = (
                f"It would come as far as {handled.why}; what follows is not known, for no answer is assumed"
            )
        case _:
            said = f"It would succeed now{_assumption(handled)}: {_effect(handled)}"
    return f"{'; but '.join([said, *handled.but])}."


def of_failure(exception: str, *, is_same: bool, is_known: bool) -> str:
    """How a message would end that its handler refuses; `is_known` where the letter's own failure is known."""
    first = exception.splitlines()[0][:_LONGEST].rstrip(" .")
    if is_same:
        return f"It would fail again in the same way: {first}."
    return f"It would fail{' in another way than before' if is_known else ''}: {first}."


def _assumption(handled: Handled) -> str:
    asked = [call.gateway for call in handled.gateway_calls]
    return f", if the {asked[0]} answers as is assumed" if asked else ""


def _effect(handled: Handled) -> str:
    if handled.decided:
        return ", ".join(handled.decided)
    rows, messages = sum(write.rows for write in handled.writes), len(handled.told)
    if not rows and not messages:
        return "it would change nothing"
    return f"it would change {_counted(rows, 'row')} and send {_counted(messages, 'message')}"


def _counted(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"
