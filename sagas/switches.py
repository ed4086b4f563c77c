"""Pause switches, as values: what is held back, and how long a deadline has stood still for it."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from contracts.message import Command


class SwitchKind(StrEnum):
    STEP = "step"
    """The name is `<saga>.<step>`."""
    SERVICE = "service"
    TYPE = "type"
    """The name is a command's wire type."""


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """Commands that are not handed out from `set_at` on, until it is lifted."""

    kind: SwitchKind
    name: str
    set_at: datetime
    lifted_at: datetime | None = None

    def matches(self, saga: str, step: str, command: type[Command]) -> bool:
        """Whether it holds such a command back while it is set."""
        match self.kind:
            case SwitchKind.STEP:
                return self.name == f"{saga}.{step}"
            case SwitchKind.SERVICE:
                return self.name == command.owner()
            case SwitchKind.TYPE:
                return self.name == command.wire_type


def is_set(switches: Iterable[Switch]) -> bool:
    return any(switch.lifted_at is None for switch in switches)


def time_held(switches: Sequence[Switch], *, since: datetime, until: datetime) -> timedelta:
    """How much of this time at least one of the switches was set."""
    total, counted_to = timedelta(0), since
    for switch in sorted(switches, key=lambda switch: switch.set_at):
        begin = max(switch.set_at, counted_to)
        end = min(switch.lifted_at or until, until)
        if end > begin:
            total += end - begin
            counted_to = end
    return total
