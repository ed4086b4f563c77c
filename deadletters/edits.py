"""Editing a dead letter's message and replaying that instead."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from deadletters.desk import Operator
from deadletters.models import LetterEdit


class FieldChange(msgspec.Struct, frozen=True, kw_only=True):
    """One field that differs, by its path (`ship_to.city`, `lines[0].quantity`); a value that is not there is None."""

    path: str
    before: Any
    after: Any
    is_added: bool = False
    is_removed: bool = False


def changes(before: Any, after: Any) -> list[FieldChange]:
    """What differs between two decoded JSON values, field by field."""
    raise NotImplementedError


def check(letter_id: UUID, body: str, *, operator: Operator) -> list[FieldChange]:
    """What this body would change. Raises `InvalidEdit` naming field and value, or `NotPermitted`."""
    raise NotImplementedError


def edit(letter_id: UUID, body: str, *, operator: Operator, reason: str, at: datetime) -> LetterEdit:
    """Replay the letter with this body, or propose it where a second person has to approve."""
    raise NotImplementedError


def approve(edit_id: UUID, *, operator: Operator, reason: str, at: datetime) -> LetterEdit:
    raise NotImplementedError


def decline(edit_id: UUID, *, operator: Operator, reason: str, at: datetime) -> LetterEdit:
    raise NotImplementedError
