"""What a saga is: a table of steps, data only."""

from enum import StrEnum
from typing import Any

import msgspec

from contracts.message import Command, Event
from sagas.errors import InvalidDefinition

REASON = "reason"
"""The field of a compensation's command that says why; the saga fills it in."""


class Exhausted(StrEnum):
    """What becomes of a step whose command is a dead letter, so that nobody knows whether it had its effect."""

    HOLD = "hold"
    """It waits for a person: the letter may be replayed, and the reply still counts."""
    COMPENSATE = "compensate"
    """It is undone at once, and the saga with it."""


class Step(msgspec.Struct, frozen=True):
    """A command, the replies it may get, and what undoes it.

    `done` and `refused` answer `command`; a refusal means that nothing happened. `undone` answers `undo`. A step
    without a command is done by the start of the saga itself. From the pivot on a step is always held when it is
    exhausted.
    """

    name: str
    command: type[Command] | None = None
    done: type[Event] | None = None
    refused: type[Event] | None = None
    undo: type[Command] | None = None
    undone: type[Event] | None = None
    exhausted: Exhausted = Exhausted.HOLD


class Pivot(Step, frozen=True):
    """The step after which there is no way back: it and those after it are repeated until they are done."""


class Saga(msgspec.Struct, frozen=True):
    """A named and versioned table of steps. Raises `InvalidDefinition` where it could not be carried out."""

    name: str
    version: int
    starts: type[Event]
    unique_by: str
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        names = [step.name for step in self.steps]
        if len(set(names)) != len(names):
            raise InvalidDefinition(self.name, "two steps have the same name")
        if self.unique_by not in self.starts.__struct_fields__:
            raise InvalidDefinition(self.name, f"{self.starts.__name__} has no field {self.unique_by!r}")
        if sum(isinstance(step, Pivot) for step in self.steps) > 1:
            raise InvalidDefinition(self.name, "it has more than one pivot")
        for step in self.steps[self.pivot_position :]:
            if step.exhausted is not Exhausted.HOLD:
                raise InvalidDefinition(
                    self.name,
                    f"step {step.name!r} is to be compensated when it is exhausted, but from the pivot on nothing is",
                )
        known = set(self.starts.__struct_fields__)
        for step in self.steps:
            self._check(step, known)
            if step.done is not None:
                known |= set(step.done.__struct_fields__)

    def _check(self, step: Step, known: set[str]) -> None:
        if (step.command is None) != (step.done is None):
            raise InvalidDefinition(
                self.name, f"step {step.name!r} needs both a command and its `done`, or neither"
            )
        if (step.undo is None) != (step.undone is None):
            raise InvalidDefinition(
                self.name, f"step {step.name!r} needs both `undo` and `undone`, or neither"
            )
        for command, given in ((step.command, known), (step.undo, known | {REASON})):
            missing = set(command.__struct_fields__) - given if command else set()
            if missing:
                raise InvalidDefinition(
                    self.name,
                    f"nothing before step {step.name!r} says {', '.join(sorted(missing))}, which its command needs",
                )

    @property
    def pivot_position(self) -> int:
        """The position of the pivot; beyond the last step where there is none."""
        return next((i for i, step in enumerate(self.steps) if isinstance(step, Pivot)), len(self.steps))

    def step(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)

    def message_types(self) -> set[str]:
        """The wire types of every event that may move it."""
        replies = (event for step in self.steps for event in (step.done, step.refused, step.undone) if event)
        return {self.starts.wire_type, *(event.wire_type for event in replies)}

    def command_types(self) -> set[str]:
        """The wire types of every command that it may send."""
        return {command.wire_type for step in self.steps for command in (step.command, step.undo) if command}


def build(command: type[Command], data: dict[str, Any], **more: Any) -> Command:
    """The command, each field taken by its name from what has been said in the saga so far."""
    fields = {**data, **more}
    return command.from_payload({name: fields[name] for name in command.__struct_fields__})
