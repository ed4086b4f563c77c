"""The kinds of steps that a saga may have."""

from collections.abc import Callable
from enum import StrEnum

import msgspec

from contracts.message import Command, Event
from sagas.facts import Facts

Builder = Callable[[Facts], Command]
"""A pure function of what has been said so far."""


class Exhausted(StrEnum):
    """What becomes of a step whose command is a dead letter, or of a wait whose event has not come in time."""

    HOLD = "hold"
    """It waits for a person: the letter may be replayed, the event may still come, and either counts."""
    COMPENSATE = "compensate"
    """It is given up at once, and the saga with it; what it may have done is undone."""


class Step(msgspec.Struct, frozen=True):
    """A command, the replies it may get, and what undoes it.

    `done` and `refused` answer `command`; a refusal means that nothing happened. `undone` answers `undo`. A step
    without a command is done by the start of the saga itself. From the pivot on a step is always held when it is
    exhausted.

    `after` names the steps that must be done before: left out it is the step above it in the table, and steps that
    come after the same one run beside each other. A field of a command is taken from the start message or from what
    an earlier step replied; where that is not enough, `build` (`build_undo` for the compensation) makes the command.

    `deadline` is in seconds, after which the answer is overdue, and `longest_pause` the most between repetitions;
    left out they are the settings' own. Of a step that is overdue nobody knows what happened. With `repeats` its
    command is sent again so often, under the same idempotency key. With `ask` the service is asked first: it answers
    the question with `done`, `refused` or `nothing`, and only upon `nothing` is the command sent again. A step before
    the pivot that stays without an answer is undone; the others are repeated for ever.
    """

    name: str
    command: type[Command] | None = None
    done: type[Event] | None = None
    refused: type[Event] | None = None
    undo: type[Command] | None = None
    undone: type[Event] | None = None
    after: tuple[str, ...] | None = None
    exhausted: Exhausted = Exhausted.HOLD
    ask: type[Command] | None = None
    nothing: type[Event] | None = None
    repeats: int = 0
    deadline: float | None = None
    longest_pause: float | None = None
    build: Builder | None = None
    build_undo: Builder | None = None


class Pivot(Step, frozen=True):
    """The step after which there is no way back: it and those after it are repeated until they are done."""


class Wait(Step, frozen=True):
    """A step without a command: it is done when an event comes from outside, such as a webhook or a person's word.

    The event bears the saga's `unique_by` field. It may come before the saga has got there: it counts then. One that
    comes before the saga has begun is repeated like a message whose handler failed for the moment.
    """


class Pause(Step, frozen=True):
    """A step that is done when `seconds` have passed since it began."""

    seconds: float = 0.0
