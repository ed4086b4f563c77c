"""Whether what runs now is only a rehearsal: it is rolled back, so nobody may hear of it.

Inside, failpoints do not fire, no spans are made, and units of work are noted for whoever tells what they would have
said.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from messaging.unit_of_work import UnitOfWork

_units: ContextVar["list[UnitOfWork] | None"] = ContextVar("rehearsal", default=None)


@contextmanager
def rehearsing() -> Iterator["list[UnitOfWork]"]:
    """Inside, everything is a rehearsal; yields the units of work that have ended well, in their order."""
    units: list[UnitOfWork] = []
    token = _units.set(units)
    try:
        yield units
    finally:
        _units.reset(token)


def is_rehearsal() -> bool:
    return _units.get() is not None


def note(work: "UnitOfWork") -> None:
    """Keep a unit of work that has ended well, where this is a rehearsal."""
    units = _units.get()
    if units is not None:
        units.append(work)
