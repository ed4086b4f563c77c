"""A kept reply for another saga than the one that the command was first sent by.

A fork sends a command again under the key that it had, so that it has its effect once. The reply that was kept bears
the id of the former saga, and is an event that others have handled: so the fork gets a copy of its own, sent to the
sagas' queue alone.
"""

from uuid import uuid5

import msgspec

from contracts.sagas import CheckDeadlines
from messaging.envelope import Envelope
from messaging.outbox_rows import OutgoingMessage


def readdressed(reply: OutgoingMessage, *, cause: Envelope) -> OutgoingMessage:
    """The reply to this command: as it was kept, or a copy for the saga that has sent it now.

    The copy's message id follows from both, so that however often it is made it is one message.
    """
    if cause.saga_id is None or cause.saga_id == reply.envelope.saga_id:
        return reply
    message_id = uuid5(reply.envelope.message_id, str(cause.saga_id))
    envelope = msgspec.structs.replace(
        reply.envelope,
        message_id=message_id,
        idempotency_key=str(message_id),
        causation_id=cause.message_id,
        saga_id=cause.saga_id,
        step=cause.step,
        step_try=cause.step_try,
        origin_exchange=reply.exchange,
        origin_routing_key=reply.routing_key,
    )
    return msgspec.structs.replace(reply, envelope=envelope, exchange="", routing_key=CheckDeadlines.owner())
