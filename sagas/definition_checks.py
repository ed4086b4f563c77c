"""What makes a table of steps impossible to carry out, in sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sagas.facts import recipe_of
from sagas.steps import Exhausted, Pause, Pivot, Step, Wait

if TYPE_CHECKING:
    from contracts.message import Event
    from sagas.definition import Saga

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")


def problems_of(saga: Saga) -> Iterator[str]:
    """What is wrong with the table; the first problem may bring others about."""
    names = [step.name for step in saga.steps]
    if not names:
        yield "it has no steps"
    if len(set(names)) != len(names):
        yield "two steps have the same name"
    for name in names:
        if not _NAME.fullmatch(name):
            yield (
                f"a step cannot be called {name!r}: keys and addresses carry the name, so it has small letters, "
                "digits, hyphens and underscores only, and 60 of them at most"
            )
    if saga.deadline is not None and saga.deadline <= 0:
        yield f"its deadline is {saga.deadline} s; it must be more than 0"
    if saga.unique_by not in saga.starts.__struct_fields__:
        yield f"{saga.starts.__name__} has no field {saga.unique_by!r}"
    for position, step in enumerate(saga.steps):
        yield from _problems_of_order(step, names[:position])
    yield from _problems_of_pivot(saga)
    yield from _problems_of_waits(saga)
    for position, step in enumerate(saga.steps):
        yield from _problems_of_step(saga, step)
        yield from _problems_of_commands(saga, position)


def _problems_of_order(step: Step, above: list[str]) -> Iterator[str]:
    for name in step.after or ():
        if name not in above:
            yield f"step {step.name!r} is to come after {name!r}, which is no step above it in the table"


def _problems_of_pivot(saga: Saga) -> Iterator[str]:
    if sum(isinstance(step, Pivot) for step in saga.steps) > 1:
        yield "it has more than one pivot"
    pivot = saga.pivot_position
    if pivot == len(saga.steps):
        return
    if saga.steps[pivot].command is None:
        yield f"the pivot {saga.steps[pivot].name!r} has no command: nobody could say when there is no way back"
    if saga.steps[pivot].undo is not None:
        yield f"the pivot {saga.steps[pivot].name!r} has an `undo`, but once it is done there is no way back"
    related = saga.ancestors[pivot] | saga.descendants[pivot] | {pivot}
    for position, step in enumerate(saga.steps):
        if position not in related:
            yield (
                f"step {step.name!r} runs beside the pivot {saga.steps[pivot].name!r}; it must come before or after "
                "it, or nobody could say whether it can still be undone"
            )
        if position in saga.descendants[pivot] and (step.refused or step.undo):
            yield (
                f"step {step.name!r} comes after the pivot, where nothing is refused or undone: it must succeed in "
                "the end"
            )
        if position >= pivot and step.exhausted is not Exhausted.HOLD:
            yield f"step {step.name!r} is to be compensated when it is exhausted, but from the pivot on nothing is"


def _problems_of_waits(saga: Saga) -> Iterator[str]:
    awaited: dict[type[Event], str] = {}
    for step in saga.waits():
        for event in (step.done, step.refused):
            if event is None:
                continue
            if event in awaited:
                yield (
                    f"steps {awaited[event]!r} and {step.name!r} wait for the same {event.__name__}, which would end "
                    "both"
                )
            awaited[event] = step.name


def _problems_of_step(saga: Saga, step: Step) -> Iterator[str]:
    for name, seconds in (("deadline", step.deadline), ("longest_pause", step.longest_pause)):
        if seconds is not None and seconds <= 0:
            yield f"the {name} of step {step.name!r} is {seconds} s; it must be more than 0"
    if isinstance(step, Wait):
        if step.done is None or step.deadline is None:
            yield f"step {step.name!r} waits for an event from outside, so it needs `done` and a `deadline`"
        if step.command or step.undo or step.ask:
            yield f"step {step.name!r} only waits: it has no command, nothing to undo and nobody to ask"
        for event in (step.done, step.refused):
            if event is not None and saga.unique_by not in event.__struct_fields__:
                yield (
                    f"{event.__name__}, for which step {step.name!r} waits, has no field {saga.unique_by!r}, so "
                    "nobody could say which saga it is for"
                )
        return
    if isinstance(step, Pause):
        if step.seconds <= 0:
            yield f"step {step.name!r} pauses for {step.seconds} s; it must be more than 0"
        if step.command or step.done or step.refused or step.undo or step.ask:
            yield f"step {step.name!r} only lets time pass: it has no command, no reply and nothing to undo"
        return
    if (step.command is None) != (step.done is None):
        yield f"step {step.name!r} needs both a command and its `done`, or neither"
    if (step.undo is None) != (step.undone is None):
        yield f"step {step.name!r} needs both `undo` and `undone`, or neither"
    if (step.ask is None) != (step.nothing is None):
        yield f"step {step.name!r} needs both `ask` and `nothing`, or neither"
    if step.ask and not step.command:
        yield f"step {step.name!r} has a question and no command that it could be about"
    if step.refused and not step.command:
        yield f"step {step.name!r} can be refused, and has no command that somebody could refuse"
    if step.repeats < 0:
        yield f"step {step.name!r} is to be repeated {step.repeats} times"
    replies = [event for event in (step.done, step.refused, step.undone, step.nothing) if event]
    if len(set(replies)) != len(replies):
        yield f"step {step.name!r} has one event for two replies, which nobody could tell apart"


def _problems_of_commands(saga: Saga, position: int) -> Iterator[str]:
    step = saga.steps[position]
    for command, builder in ((step.command, step.build), (step.undo, step.build_undo), (step.ask, None)):
        if command is None or builder is not None:
            continue
        recipe = recipe_of(command, saga.sources(position), is_told_why=command is step.undo)
        if recipe.missing:
            yield (
                f"nothing before step {step.name!r} says {', '.join(sorted(recipe.missing))}, which {command.__name__} "
                "needs; let an earlier event say it, or give the step a `build`"
            )
        for field, event in recipe.misfits:
            yield (
                f"{command.__name__}.{field} of step {step.name!r} would be taken from {event}.{field}, which has "
                "another type; give the step a `build`"
            )
