"""What the operator's desk is told."""

from typing import ClassVar
from uuid import UUID

from contracts.message import Command, Event


class ReplaySucceeded(Event, frozen=True, kw_only=True):
    """A replayed dead letter has been handled now, or had been handled before. Sent by the service that handled it."""

    wire_type: ClassVar[str] = "operations.replay_succeeded.v1"
    replay_id: UUID
    message_id: UUID


class AdvanceLetterJob(Command, frozen=True, kw_only=True):
    """Do the next step of a bulk job on dead letters. Sent through the outbox, due when the step is."""

    wire_type: ClassVar[str] = "operations.advance_letter_job.v1"
    job_id: UUID
