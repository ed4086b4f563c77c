"""The language of trouble, made known where this service is loaded and nowhere else."""

from typing import ClassVar
from uuid import UUID

from contracts.catalogue import MESSAGE_TYPES
from contracts.message import Command, Event


class Misbehave(Command, frozen=True, kw_only=True):
    """Do as `how` says, the first `times` times; after that write the effect and be done."""

    wire_type: ClassVar[str] = "trouble.misbehave.v1"
    effect: UUID
    how: str
    times: int
    seconds: float


class Behaved(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "trouble.behaved.v1"
    effect: UUID


MESSAGE_TYPES.update({message.wire_type: message for message in (Misbehave, Behaved)})
