"""What every way of handling a message has in common: its reply, the reply again, and what a replay is told."""

from datetime import datetime

from contracts.message import Command, Event, Message
from messaging import idempotency, replays, topology
from messaging.envelope import Envelope
from messaging.readdressing import readdressed
from messaging.unit_of_work import UnitOfWork


class CallUnderWay(Exception):
    """Another delivery is asking the gateway; this one comes back when that lease has ended."""

    def __init__(self, until: datetime) -> None:
        super().__init__(f"until {until:%H:%M:%S}")
        self.until = until


def report_replay(envelope: Envelope, *, work: UnitOfWork) -> None:
    """Where the message is a replayed dead letter, let its letter be closed when this transaction commits."""
    if replays.is_awaited(envelope):
        work.outgoing.append(replays.succeeded(envelope, service=work.service, now=work.now))


def answer_again(key: str, message: Message, *, work: UnitOfWork) -> None:
    """Send the reply of a finished command again, under its own message id."""
    reply = idempotency.lock(key, consumer=work.service, database=work.database).reply
    if not isinstance(message, Command):
        return
    if reply is not None and topology.has_subscriber(reply.envelope.type):
        assert work.cause is not None
        work.outgoing.append(readdressed(reply, cause=work.cause))


def finish(work: UnitOfWork, reply: Event | None, keys: list[str]) -> None:
    kept = None if reply is None else work.message_of(reply)
    work.add_statement(idempotency.finish_statement(keys, reply=kept, consumer=work.service, now=work.now))
