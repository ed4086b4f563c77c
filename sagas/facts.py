"""What has been said in a saga so far, and how commands are made of it.

The saga keeps the body of its start message under the name '', and each step's `done` event under the step's name.
"""

import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from contracts.message import Command, Event

REASON = "reason"
"""The field of a compensation's command that says why; the saga fills it in."""

Said = TypeVar("Said", bound=Event)


class Facts:
    """The start message and the replies so far, as the events that they were."""

    def __init__(
        self,
        data: Mapping[str, Any],
        *,
        starts: type[Event],
        said: Mapping[type[Event], tuple[str, ...]],
        reason: str = "",
    ) -> None:
        self._data = data
        self._starts = starts
        self._said = said
        self.reason = reason
        """Why the saga turned round, for the command of a compensation; else empty."""

    def __getitem__(self, event: type[Said]) -> Said:
        """The event of this type; raises `KeyError` where it has not been said, or by more than one step."""
        names = self._said.get(event, ())
        if len(names) != 1:
            raise KeyError(f"{len(names)} steps reply with {event.__name__}: take it with `of(step, event)`")
        return self.of(names[0], event)

    def of(self, step: str, event: type[Said]) -> Said:
        """What this step replied; raises `KeyError` where it has not."""
        return event.from_payload(self._data[step])

    def has(self, step: str) -> bool:
        """Whether this step has replied."""
        return step in self._data


class Recipe(msgspec.Struct, frozen=True):
    """Where each field of a command comes from; `missing` and `misfits` say what makes it impossible."""

    command: type[Command]
    taken: tuple[tuple[str, str], ...]
    """(field, name under which it was said)"""
    is_told_why: bool
    missing: tuple[str, ...] = ()
    misfits: tuple[tuple[str, str], ...] = ()

    def make(self, data: Mapping[str, Any], *, reason: str) -> Command:
        fields = {field: data[name][field] for field, name in self.taken if field in data[name]}
        if self.is_told_why:
            fields[REASON] = reason
        return self.command.from_payload(fields)


def recipe_of(command: type[Command], sources: Mapping[str, type[Event]], *, is_told_why: bool) -> Recipe:
    """Take each field by its name from the first that says it, the start message before the steps in their order."""
    wanted = get_type_hints(command)
    is_told_why = is_told_why and REASON in command.__struct_fields__
    optional = {field.name for field in msgspec.structs.fields(command) if not field.required}
    taken, missing, misfits = [], [], []
    for field in command.__struct_fields__:
        if field == REASON and is_told_why:
            continue
        name = next((name for name, event in sources.items() if field in event.__struct_fields__), None)
        if name is None:
            if field not in optional:
                missing.append(field)
            continue
        taken.append((field, name))
        if not fits(get_type_hints(sources[name])[field], wanted[field]):
            misfits.append((field, sources[name].__name__))
    return Recipe(
        command=command,
        taken=tuple(taken),
        is_told_why=is_told_why,
        missing=tuple(missing),
        misfits=tuple(misfits),
    )


def fits(given: Any, wanted: Any) -> bool:
    """Whether every value of the one type can be read as the other: the same, or an object with more fields."""
    if given == wanted:
        return True
    if get_origin(wanted) in (Union, types.UnionType):
        wanted_members = get_args(wanted)
        given_members = get_args(given) if get_origin(given) in (Union, types.UnionType) else (given,)
        return all(any(fits(one, other) for other in wanted_members) for one in given_members)
    if get_origin(given) is tuple and get_origin(wanted) is tuple:
        pairs = zip(get_args(given), get_args(wanted), strict=False)
        return len(get_args(given)) == len(get_args(wanted)) and all(fits(*pair) for pair in pairs)
    if _is_struct(given) and _is_struct(wanted):
        has, wants = get_type_hints(given), get_type_hints(wanted)
        needed = {field.name for field in msgspec.structs.fields(wanted) if field.required}
        return needed <= set(given.__struct_fields__) and all(
            fits(has[field], wants[field]) for field in wanted.__struct_fields__ if field in has
        )
    return False


def _is_struct(given: Any) -> bool:
    return isinstance(given, type) and issubclass(given, msgspec.Struct)
