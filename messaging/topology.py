"""Exchanges, queues and bindings: all of them, computed from the handlers that the services declare.

docs/architecture.md has the table. Queues are quorum queues; what a consumer rejects, or what kills it again
and again, is moved to the service's dead-letter queue by the broker itself.
"""

import time
from collections.abc import Iterator

from amqp.exceptions import NotFound, PreconditionFailed
from django.conf import settings
from kombu import Connection, Exchange, Queue
from kombu.exceptions import OperationalError

from contracts.catalogue import MESSAGE_TYPES
from contracts.message import Command
from messaging.errors import MessagingError
from messaging.handling import is_handled, subscriptions

COMMANDS = "commands"
EVENTS = "events"
DEAD_LETTERS = "dead-letters"
DEAD = ".dead"
"""How the name of a dead-letter queue ends."""
DEAD_DELIVERY_LIMIT = 1_000_000
"""RabbitMQ 4 would otherwise drop a dead letter after 20 deliveries."""

commands = Exchange(COMMANDS, type="topic", durable=True)
events = Exchange(EVENTS, type="topic", durable=True)
dead_letters = Exchange(DEAD_LETTERS, type="topic", durable=True)


class TopologyError(MessagingError):
    """The broker has no such queue, or one with other arguments."""


def queue_of(service: str) -> Queue:
    """The one queue that a service consumes."""
    return Queue(
        service,
        exchange=commands,
        routing_key=f"{service}.*",
        durable=True,
        queue_arguments={
            "x-queue-type": "quorum",
            "x-dead-letter-exchange": DEAD_LETTERS,
            "x-dead-letter-routing-key": service,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
            "x-delivery-limit": settings.DELIVERY_LIMIT,
        },
    )


def dead_queue_of(service: str) -> Queue:
    """Where the broker puts what the service could not handle."""
    return Queue(
        f"{service}{DEAD}",
        exchange=dead_letters,
        routing_key=service,
        durable=True,
        queue_arguments={"x-queue-type": "quorum", "x-delivery-limit": DEAD_DELIVERY_LIMIT},
    )


def services() -> list[str]:
    """The services that have a queue: those that handle anything."""
    return sorted(subscriptions())


def is_command(wire_type: str) -> bool:
    message_type = MESSAGE_TYPES.get(wire_type)
    return message_type is not None and issubclass(message_type, Command)


def has_subscriber(wire_type: str) -> bool:
    """Whether any queue is bound to this event; one that nobody handles is not sent to the broker at all."""
    return is_handled(wire_type)


def bindings() -> Iterator[tuple[str, Exchange, str]]:
    """Queue name, exchange and routing key of every binding."""
    for service, types in sorted(subscriptions().items()):
        yield service, commands, f"{service}.*"
        for wire_type in sorted(types):
            if not is_command(wire_type):
                yield service, events, wire_type


def declare(connection: Connection) -> list[str]:
    """Declare everything; safe to repeat. Returns the names of the queues.

    Raises `TopologyError` where a queue exists with other arguments: the broker refuses to change them.
    """
    with connection.channel() as channel:
        for exchange in (commands, events, dead_letters):
            exchange(channel).declare()
        declared = []
        for service in services():
            for queue in (dead_queue_of(service), queue_of(service)):
                try:
                    queue(channel).declare()
                except PreconditionFailed as error:
                    raise TopologyError(_other_arguments(queue.name, error)) from error
                declared.append(queue.name)
        for service, exchange, routing_key in bindings():
            queue_of(service)(channel).bind_to(exchange, routing_key)
    return declared


def verify(connection: Connection, service: str) -> None:
    """Make sure that the service's queues are there with the right arguments, without creating them.

    Waits for a broker that is away. Raises `TopologyError` saying what to run.
    """
    while True:
        try:
            connection.ensure_connection(max_retries=None, interval_start=0.2, interval_max=2)
            with connection.channel() as channel:
                for queue in (dead_queue_of(service), queue_of(service)):
                    queue(channel).queue_declare(passive=True)
                    queue(channel).queue_declare()
            return
        except NotFound as error:
            raise TopologyError(
                f"The broker has no queue {queue.name!r}. Run `manage.py declare_topology` first."
            ) from error
        except PreconditionFailed as error:
            raise TopologyError(_other_arguments(queue.name, error)) from error
        except (*connection.recoverable_connection_errors, OperationalError):
            time.sleep(0.5)


def depths(connection: Connection) -> dict[str, tuple[int, int]]:
    """Messages ready and consumers of every queue; raises `TopologyError` naming one that is missing."""
    found: dict[str, tuple[int, int]] = {}
    for name, state in states(connection).items():
        if state is None:
            raise TopologyError(f"The broker has no queue {name!r}. Run `manage.py declare_topology` first.")
        found[name] = state
    return found


def states(connection: Connection) -> dict[str, tuple[int, int] | None]:
    """Messages ready and consumers of every queue; None for one that is missing."""
    found: dict[str, tuple[int, int] | None] = {}
    channel = connection.channel()
    for service in services():
        for name in (service, f"{service}{DEAD}"):
            try:
                answer = channel.queue_declare(name, passive=True)
                found[name] = (answer.message_count, answer.consumer_count)
            except NotFound:
                found[name] = None
                channel = connection.channel()  # the broker has closed the other one
    channel.close()
    return found


def _other_arguments(name: str, error: Exception) -> str:
    return (
        f"The queue {name!r} exists with other arguments than messaging/topology.py declares ({error}). "
        f"`manage.py migrate_queue {name}` gives it the declared ones without losing a message."
    )
