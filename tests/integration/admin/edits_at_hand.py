"""Edits of dead letters, as whoever proposed them leaves them for a second person."""

from typing import Any
from uuid import uuid4

from deadletters.models import DeadLetter, LetterEdit
from tests.integration.admin.records import NOON


def an_edit(letter: DeadLetter, *, by: str = "ada", **more: Any) -> LetterEdit:
    """A proposal that changes a quantity, and nothing that is said of customers."""
    fields: dict[str, Any] = {
        "id": uuid4(),
        "letter": letter,
        "state": "proposed",
        "before": {"quantity": 1},
        "after": {"quantity": 2},
        "message_id": uuid4(),
        "proposed_by": by,
        "proposed_at": NOON,
        "reason": "a slip of the pen",
    }
    if more.get("state", "proposed") != "proposed":
        fields |= {"decided_by": "grace", "decided_at": NOON}
    return LetterEdit.objects.create(**{**fields, **more})
