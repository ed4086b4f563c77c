"""What a saga is: a table of steps, data only."""

import hashlib
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import msgspec

from contracts.message import Command, Event
from sagas.definition_checks import problems_of
from sagas.errors import InvalidDefinition
from sagas.facts import Facts, Recipe, recipe_of
from sagas.steps import Exhausted, Pause, Pivot, Step, Wait

__all__ = ["Exhausted", "Outline", "Pause", "Pivot", "Saga", "Step", "Wait"]

Outline = dict[str, dict[str, str]]
"""Step to its properties that running sagas depend on, in the order of the table."""

_MESSAGES = ("command", "done", "refused", "undo", "undone", "ask", "nothing")


class Saga(msgspec.Struct, frozen=True, dict=True):
    """A named and versioned table of steps. Raises `InvalidDefinition` where it could not be carried out.

    `deadline` is in seconds from the start: a saga that has not sent its pivot by then is compensated.
    """

    name: str
    version: int
    starts: type[Event]
    unique_by: str
    steps: tuple[Step, ...]
    deadline: float | None = None

    def __post_init__(self) -> None:
        for problem in problems_of(self):
            raise InvalidDefinition(self.name, problem)

    def __repr__(self) -> str:
        return f"<Saga {self.name} v{self.version}>"

    @cached_property
    def positions(self) -> dict[str, int]:
        """Step name to its place in the table."""
        return {step.name: position for position, step in enumerate(self.steps)}

    @cached_property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """For each step the positions of those that it directly comes after."""
        return tuple(
            tuple(self.positions[name] for name in step.after)
            if step.after is not None
            else ((position - 1,) if position else ())
            for position, step in enumerate(self.steps)
        )

    @cached_property
    def ancestors(self) -> tuple[frozenset[int], ...]:
        """For each step the positions of all that are done before it begins."""
        found: list[frozenset[int]] = []
        for before in self.predecessors:
            found.append(frozenset(before).union(*(found[position] for position in before)))
        return tuple(found)

    @cached_property
    def descendants(self) -> tuple[frozenset[int], ...]:
        """For each step the positions of all that begin only when it is done."""
        return tuple(
            frozenset(other for other, before in enumerate(self.ancestors) if position in before)
            for position in range(len(self.steps))
        )

    @cached_property
    def pivot_position(self) -> int:
        """The position of the pivot; beyond the last step where there is none."""
        return next((i for i, step in enumerate(self.steps) if isinstance(step, Pivot)), len(self.steps))

    @cached_property
    def _recipes(self) -> dict[tuple[int, type[Command]], Recipe]:
        return {
            (position, command): recipe_of(command, self.sources(position), is_told_why=command is step.undo)
            for position, step in enumerate(self.steps)
            for command in (step.command, step.undo, step.ask)
            if command is not None
        }

    def sources(self, position: int) -> dict[str, type[Event]]:
        """What has certainly been said when this step begins, by step name; the start message has the name ''."""
        earlier = {
            self.steps[i].name: done
            for i in sorted(self.ancestors[position])
            if (done := self.steps[i].done) is not None
        }
        return {"": self.starts, **earlier}

    def takes_from(self, position: int, command: type[Command]) -> frozenset[str]:
        """By whom what this command of the step is made of is said: steps, and '' for the start message."""
        step = self.steps[position]
        if (step.build_undo if command is step.undo else step.build) is not None:
            return frozenset(self.sources(position))
        return frozenset(name for _, name in self._recipes[position, command].taken)

    def build(
        self, position: int, command: type[Command], data: dict[str, Any], *, reason: str = ""
    ) -> Command:
        """The command of this step, made of what has been said so far.

        Raises `msgspec.ValidationError` or `KeyError` where something that it needs has not been said.
        """
        step = self.steps[position]
        builder = step.build_undo if command is step.undo else step.build if command is step.command else None
        if builder is not None:
            return builder(Facts(data, starts=self.starts, said=self.said_by, reason=reason))
        return self._recipes[position, command].make(data, reason=reason)

    @cached_property
    def said_by(self) -> dict[type[Event], tuple[str, ...]]:
        """Event type to the names under which the saga keeps such an event."""
        found: dict[type[Event], tuple[str, ...]] = {self.starts: ("",)}
        for step in self.steps:
            if step.done is not None:
                found[step.done] = (*found.get(step.done, ()), step.name)
        return found

    def needs(self, name: str) -> list[str]:
        """The later steps of which a command takes something from what this step replies."""
        position = self.positions[name]
        takes = {
            self.steps[other].name
            for (other, _), recipe in self._recipes.items()
            if any(source == name for _, source in recipe.taken)
        }
        builds = {
            self.steps[other].name
            for other in self.descendants[position]
            if self.steps[other].build is not None or self.steps[other].build_undo is not None
        }
        return [step.name for step in self.steps if step.name in takes | builds]

    def step(self, name: str) -> Step:
        """The step of this name; raises `KeyError`."""
        return self.steps[self.positions[name]]

    def is_reply(self, name: str, event: Event) -> bool:
        """Whether such an event answers a command of this step; else it can only be news from outside."""
        step = self.steps[self.positions[name]] if name in self.positions else None
        if step is None or isinstance(step, Wait):
            return False
        kinds = (step.done, step.refused, step.undone, step.nothing)
        return isinstance(event, tuple(kind for kind in kinds if kind is not None))

    def waits(self) -> Iterator[Step]:
        """The steps that an event from outside may end."""
        return (step for step in self.steps if isinstance(step, Wait))

    def message_types(self) -> set[str]:
        """The wire types of every event that may move it."""
        replies = (
            event
            for step in self.steps
            for event in (step.done, step.refused, step.undone, step.nothing)
            if event
        )
        return {self.starts.wire_type, *(event.wire_type for event in replies)}

    def command_types(self) -> set[str]:
        """The wire types of every command that it may send."""
        return {
            command.wire_type
            for step in self.steps
            for command in (step.command, step.undo, step.ask)
            if command
        }

    @cached_property
    def outline(self) -> Outline:
        """All that running sagas depend on, in words, by step; what is about the whole is under ''.

        How long something may take, and how often it is tried, is no part of it.
        """
        whole = {"starts": self.starts.wire_type, "unique_by": self.unique_by}
        return {"": whole, **{step.name: self._outline_of(step) for step in self.steps}}

    def _outline_of(self, step: Step) -> dict[str, str]:
        messages = {name: getattr(step, name) for name in _MESSAGES}
        before = self.predecessors[self.positions[step.name]]
        return {
            "kind": type(step).__name__,
            "after": " ".join(self.steps[position].name for position in before),
            **{name: message.wire_type for name, message in messages.items() if message is not None},
            "exhausted": step.exhausted.value,
        }

    @cached_property
    def shape(self) -> str:
        """A hash of the outline: two definitions of one shape carry on each other's sagas."""
        ordered = [self.name, self.version, [[name, more] for name, more in self.outline.items()]]
        return hashlib.sha256(msgspec.json.encode(ordered)).hexdigest()[:16]
