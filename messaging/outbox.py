"""The transactional outbox, as services use it.

Business code never talks to the broker. What it sends is a row in its own transaction; the relay publishes it
after the commit, at least once.
"""

from datetime import datetime

from contracts.message import Command, Event
from messaging.envelope import Envelope
from messaging.unit_of_work import current


def send(command: Command, *, key: str | None = None, available_at: datetime | None = None) -> Envelope:
    """Send a command with the current unit of work, now or from `available_at` on.

    `key` is its idempotency key where the message id is not the right one. Raises `NoUnitOfWork` outside of one.
    """
    return current().send(command, key=key, available_at=available_at)


def publish(event: Event, *, stream: str, version: int) -> Envelope:
    """Append the event as `version` of `stream` and send it to its subscribers, if any.

    The caller holds the row that says which version comes next. Raises `NoUnitOfWork` outside of a unit of work;
    at its end `ConcurrentAppend`, if somebody else has appended that version.
    """
    return current().publish(event, stream=stream, version=version)
