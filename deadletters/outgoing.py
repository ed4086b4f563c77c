"""What goes out about dead letters, through `default`'s outbox: the message itself again, and notes to its saga."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from contracts.message import Command
from contracts.operations import AdvanceLetterJob
from contracts.sagas import NoteDeadLetter, NoteDiscardedLetter
from deadletters.collecting.amqp_values import readable
from deadletters.collecting.reading import OfSaga, came_by, message_in
from eventstore.store import Statement
from messaging import topology
from messaging.envelope import Envelope, new_message_id
from messaging.handling import sends
from messaging.outbox_rows import OutgoingMessage, bring_forward_statement, delete_statement

SERVICE = "operations"
"""The service in whose name all of this is sent. Its database is `default`."""

sends(SERVICE, {NoteDeadLetter.wire_type, NoteDiscardedLetter.wire_type, AdvanceLetterJob.wire_type})


def replay_of(
    *,
    service: str,
    headers: Mapping[str, Any],
    body: bytes,
    deaths: Any,
    replay_id: UUID,
    available_at: datetime,
    message_id: UUID | None = None,
) -> OutgoingMessage:
    """The message for the one queue where it died, as a first attempt; raises `Unreplayable`.

    `message_id` is an edited message's own, whose `body` is then not what came.
    """
    envelope, payload = message_in(headers, body)
    again = envelope.following(attempt=1, came_by=came_by(deaths))
    return OutgoingMessage(
        envelope=msgspec.structs.replace(
            again, replay_id=replay_id, message_id=message_id or envelope.message_id
        ),
        body=payload,
        service=SERVICE,
        exchange="",
        routing_key=service,
        available_at=available_at,
    )


def body_of(payload: Mapping[str, Any]) -> bytes:
    """A message's body as Celery carries it."""
    return msgspec.json.encode([[payload], {}, {}])


def note_dead_letter(command: OfSaga, *, letter_id: UUID, problem: str, now: datetime) -> OutgoingMessage:
    """Tells the saga that its command died."""
    return _command(
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
        available_at=now,
    )


def note_discarded_letter(command: OfSaga, *, letter_id: UUID, now: datetime) -> OutgoingMessage:
    """Tells the saga that its command will never be handled."""
    return _command(
        NoteDiscardedLetter(
            saga_id=command.saga_id,
            step=command.step,
            step_try=command.step_try,
            is_compensation=command.is_compensation,
            letter_id=letter_id,
        ),
        correlation_id=command.correlation_id,
        now=now,
        available_at=now,
    )


def wake_up(job_id: UUID, *, due: datetime, now: datetime) -> OutgoingMessage:
    """The next step of a bulk job. A job has one such row at most: a second one moves the first."""
    return _command(
        AdvanceLetterJob(job_id=job_id),
        correlation_id=str(job_id),
        now=now,
        available_at=due,
        known_key=_wake_up_key(job_id),
    )


def bring_wake_ups_forward(job_ids: Iterable[UUID]) -> Statement:
    """Let the next steps of these jobs come at once, where they wait for what has just happened."""
    return bring_forward_statement([_wake_up_key(job_id) for job_id in job_ids])


def take_wake_up_back(job_id: UUID) -> Statement:
    """The job does no further step."""
    return delete_statement([_wake_up_key(job_id)])


def _wake_up_key(job_id: UUID) -> str:
    return f"letter-job:{job_id}"


def _command(
    command: Command,
    *,
    correlation_id: str,
    now: datetime,
    available_at: datetime,
    known_key: str | None = None,
) -> OutgoingMessage:
    message_id = new_message_id()
    return OutgoingMessage(
        # Without saga id and step: a note is no command of the saga, and would be noted itself if it died.
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
        available_at=available_at,
        known_key=known_key,
    )
