"""System checks that ask the broker: `manage.py check --deploy --tag broker`.

They are deployment checks, so that no other command waits for a broker.
"""

from typing import Any

from amqp.exceptions import AMQPError, NotFound, PreconditionFailed
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from kombu import Connection, Queue
from kombu.exceptions import OperationalError

from messaging import queue_migration, topology


@register("broker", deploy=True)
def check_broker(**_: Any) -> list[CheckMessage]:
    """The broker answers, and has every queue with the declared arguments."""
    try:
        with Connection(settings.BROKER_URL, connect_timeout=5) as connection:
            connection.ensure_connection(max_retries=1, timeout=10)
            return [
                problem
                for service in topology.services()
                for queue in (topology.queue_of(service), topology.dead_queue_of(service))
                for problem in _problems_of(queue, connection)
            ]
    except (OSError, AMQPError, OperationalError) as error:
        return [
            Error(
                f"The broker does not answer ({type(error).__name__}: {error}).",
                hint="BROKER_URL says where it is.",
                id="messaging.E030",
            )
        ]


def _problems_of(queue: Queue, connection: Connection) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if _exists(queue_migration.waiting_room_of(queue.name), connection):
        found.append(
            Warning(
                f"A migration of the queue {queue.name} was interrupted: some of its messages wait beside it.",
                hint=f"Run `manage.py migrate_queue {queue.name}` again.",
                id="messaging.W033",
            )
        )
    try:
        with connection.channel() as channel:
            queue(channel).queue_declare(passive=True)
            queue(channel).queue_declare()
    except NotFound:
        found.append(
            Error(
                f"The broker has no queue {queue.name}: its messages are returned and wait in the outbox.",
                hint="Run `manage.py declare_topology`.",
                id="messaging.E031",
            )
        )
    except PreconditionFailed as error:
        found.append(
            Error(
                f"The queue {queue.name} has other arguments than messaging/topology.py declares ({error}).",
                hint=f"Run `manage.py migrate_queue {queue.name}`: it loses no message.",
                id="messaging.E032",
            )
        )
    return found


def _exists(name: str, connection: Connection) -> bool:
    try:
        with connection.channel() as channel:
            channel.queue_declare(name, passive=True)
    except NotFound:
        return False
    return True
