"""What the sagas say to themselves."""

from typing import ClassVar
from uuid import UUID

from contracts.message import Command


class CheckDeadlines(Command, frozen=True, kw_only=True):
    """A deadline of this saga may have passed. Sent through the outbox, due at that moment."""

    wire_type: ClassVar[str] = "sagas.check_deadlines.v1"
    saga_id: UUID
