"""What goes out about dead letters, through `default`'s outbox: the message itself again, and notes to its saga."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from contracts.message import Command
from contracts.sagas import NoteDeadLetter, NoteDiscardedLetter
from deadletters.amqp_values import readable
from deadletters.reading import OfSaga, came_by, message_in
from messaging import topology
from messaging.envelope import Envelope, new_message_id
from messaging.handling import sends
from messaging.outbox_rows import OutgoingMessage

SERVICE = "operations"
"""The service in whose name all of this is sent. Its database is `default`."""

sends(SERVICE, {NoteDeadLetter.wire_type, NoteDiscardedLetter.wire_type})


def replay_of(
    *,
    service: str,
    headers: Mapping[str, Any],
    body: bytes,
    deaths: Any,
    replay_id: UUID,
    available_at: datetime,
) -> OutgoingMessage:
    """The original message for the one queue where it died, as a first attempt; raises `Unreplayable`."""
    envelope, payload = message_in(headers, body)
    again = envelope.following(attempt=1, came_by=came_by(deaths))
    return OutgoingMessage(
        envelope=msgspec.structs.replace(again, replay_id=replay_id),
        body=payload,
        service=SERVICE,
        exchange="",
        routing_key=service,
        available_at=available_at,
    )


def note_dead_letter(command: OfSaga, *, letter_id: UUID, problem: str, now: datetime) -> OutgoingMessage:
    """Tells the saga that its command died."""
    return _to_sagas(
        NoteDeadLetter(
            saga_id=command.saga_id,
            step=command.step,
            step_try=command.step_try,
            is_compensation=command.is_compensation,
            letter_id=letter_id,
            problem=readable(problem, 500),
        ),
        correlation_id=command.correlation_id,
        now=now,
    )


def note_discarded_letter(command: OfSaga, *, letter_id: UUID, now: datetime) -> OutgoingMessage:
    """Tells the saga that its command will never be handled."""
    return _to_sagas(
        NoteDiscardedLetter(
            saga_id=command.saga_id,
            step=command.step,
            step_try=command.step_try,
            is_compensation=command.is_compensation,
            letter_id=letter_id,
        ),
        correlation_id=command.correlation_id,
        now=now,
    )


def _to_sagas(command: Command, *, correlation_id: str, now: datetime) -> OutgoingMessage:
    message_id = new_message_id()
    return OutgoingMessage(
        # Without saga id and step: the note is no command of the saga, and would be noted itself if it died.
        envelope=Envelope(
            message_id=message_id,
            type=command.wire_type,
            idempotency_key=str(message_id),
            correlation_id=correlation_id,
            occurred_at=now,
        ),
        body=command.to_payload(),
        service=SERVICE,
        exchange=topology.COMMANDS,
        routing_key=command.routing_key(),
        available_at=now,
    )
