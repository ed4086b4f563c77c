"""How many letters there are, without counting them: sums over the rows that the triggers add."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from deadletters.filtering import LetterFilter

HOURS = 24
"""The hours that a sparkline shows, the last of them not over yet."""
MOST_ORDERS = 1_000
"""Orders that are counted behind a group."""


class GroupFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one group: letters by state, the services where they died, deaths by hour (oldest first), orders behind open
    letters (at most `MOST_ORDERS`)."""

    by_state: dict[str, int]
    services: list[str]
    by_hour: list[int]
    orders: int


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """How many letters match. Where `is_exact` is false there are more than `number`."""

    number: int
    is_exact: bool


def open_by_service() -> dict[str, int]:
    """How many letters wait for a person, for each service that has any."""
    raise NotImplementedError


def of_groups(fingerprints: Sequence[str], *, now: datetime) -> dict[str, GroupFigures]:
    """The figures of these groups, in two statements however many they are."""
    raise NotImplementedError


def deaths_by_hour(*, now: datetime, hours: int = HOURS) -> list[int]:
    """Letters that died in each of the last hours, oldest first."""
    raise NotImplementedError


def count(chosen: LetterFilter, *, most: int = 10_000) -> Counted:
    """How many letters are meant: exact wherever the tallies know, else counted up to `most`."""
    raise NotImplementedError


def fold(*, now: datetime) -> int:
    """Add up rows of one group, service, state and hour into one; returns how many rows fewer there are."""
    raise NotImplementedError
