"""What the operator's desk is told."""

from datetime import datetime
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


class NoteOpenBreaker(Command, frozen=True, kw_only=True):
    """The circuit breaker of this service's gateway has opened at `at`, or a probe has failed then.

    Until `until` it is known to be open; if it stays so, that is said again.
    """

    wire_type: ClassVar[str] = "operations.note_open_breaker.v1"
    service: str
    gateway: str
    at: datetime
    until: datetime


class NoteClosedBreaker(Command, frozen=True, kw_only=True):
    """The gateway of this service answers again."""

    wire_type: ClassVar[str] = "operations.note_closed_breaker.v1"
    service: str
    gateway: str
    at: datetime


class LapsePauseSwitch(Command, frozen=True, kw_only=True):
    """The time of a pause switch may be over. Sent through the outbox, due at that moment."""

    wire_type: ClassVar[str] = "operations.lapse_pause_switch.v1"
    switch_id: UUID
