"""What others are told of a circuit breaker: while it is open nothing needs to be sent to its service."""

from datetime import datetime, timedelta

from django.conf import settings

from contracts.message import Command
from contracts.operations import NoteClosedBreaker, NoteOpenBreaker
from eventstore.store import Statement
from messaging import topology
from messaging.envelope import Envelope, new_message_id
from messaging.handling import sends
from messaging.outbox_rows import OutgoingMessage, insert_statement

MARGIN = timedelta(minutes=5)
"""The news that a breaker is open outlives the next probe by so much; a probe that fails renews it."""

sends("messaging", {NoteOpenBreaker.wire_type, NoteClosedBreaker.wire_type})


def opened_statement(service: str, gateway: str, *, now: datetime, probe_at: datetime) -> Statement:
    """Says that the breaker is open, at least until the next probe."""
    until = probe_at + timedelta(seconds=settings.GATEWAY_LEASE) + MARGIN
    return _statement(
        NoteOpenBreaker(service=service, gateway=gateway, at=now, until=until), service, now=now
    )


def closed_statement(service: str, gateway: str, *, now: datetime) -> Statement:
    """Says that the gateway answers again."""
    return _statement(NoteClosedBreaker(service=service, gateway=gateway, at=now), service, now=now)


def _statement(command: Command, service: str, *, now: datetime) -> Statement:
    message_id = new_message_id()
    message = OutgoingMessage(
        envelope=Envelope(
            message_id=message_id,
            type=command.wire_type,
            idempotency_key=str(message_id),
            correlation_id=str(message_id),
            occurred_at=now,
        ),
        body=command.to_payload(),
        service=service,
        exchange=topology.COMMANDS,
        routing_key=command.routing_key(),
        available_at=now,
    )
    return insert_statement([message])
