"""What the sagas are told about themselves, beside the replies of the services."""

from typing import ClassVar
from uuid import UUID

from contracts.message import Command


class CheckDeadlines(Command, frozen=True, kw_only=True):
    """A deadline of this saga may have passed. Sent through the outbox, due at that moment."""

    wire_type: ClassVar[str] = "sagas.check_deadlines.v1"
    saga_id: UUID


class NoteDeadLetter(Command, frozen=True, kw_only=True):
    """A command of this saga has become a dead letter: whether it had its effect is unknown until somebody looks."""

    wire_type: ClassVar[str] = "sagas.note_dead_letter.v1"
    saga_id: UUID
    step: str
    step_try: int
    is_compensation: bool
    letter_id: UUID
    problem: str


class NoteDiscardedLetter(Command, frozen=True, kw_only=True):
    """A dead letter of this saga was discarded: its command counts as failed and is never handled any more."""

    wire_type: ClassVar[str] = "sagas.note_discarded_letter.v1"
    saga_id: UUID
    step: str
    step_try: int
    is_compensation: bool
    letter_id: UUID
