"""Reporting that a replayed dead letter has been handled, whoever handled it."""

from datetime import datetime

from contracts.operations import ReplaySucceeded
from messaging import topology, tracing
from messaging.envelope import Envelope, new_message_id
from messaging.outbox_rows import OutgoingMessage


def is_awaited(envelope: Envelope) -> bool:
    """Whether the message is a replay and somebody listens to how replays end."""
    return envelope.replay_id is not None and topology.has_subscriber(ReplaySucceeded.wire_type)


def succeeded(envelope: Envelope, *, service: str, now: datetime) -> OutgoingMessage:
    """The report that `service` has handled this replay, now or under the same key before.

    It belongs in the transaction that commits the message or finds its key claimed. A repeated report changes
    nothing. Raises `ValueError` for a message that is no replay; ask `is_awaited` first.
    """
    if envelope.replay_id is None:
        raise ValueError(f"{envelope.type} {envelope.message_id} is no replay, so none has succeeded.")
    event = ReplaySucceeded(replay_id=envelope.replay_id, message_id=envelope.message_id)
    return OutgoingMessage(
        envelope=_report(event, cause=envelope, now=now),
        body=event.to_payload(),
        service=service,
        exchange=topology.EVENTS,
        routing_key=event.routing_key(),
        available_at=now,
    )


def _report(event: ReplaySucceeded, *, cause: Envelope, now: datetime) -> Envelope:
    message_id = new_message_id()
    return Envelope(
        message_id=message_id,
        type=event.wire_type,
        idempotency_key=str(message_id),
        correlation_id=cause.correlation_id,
        causation_id=cause.message_id,
        occurred_at=now,
        traceparent=tracing.outgoing(event.wire_type, message_id=message_id, cause=cause.traceparent),
    )
