"""What the admin's first page says at a glance."""

import msgspec
from amqp.exceptions import AMQPError
from django.conf import settings
from kombu import Connection
from kombu.exceptions import OperationalError

from messaging import topology
from orders.models import Order


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Orders under way, dead letters by service where there are any, and what keeps the broker from telling."""

    pending: int
    dead_letters: dict[str, int]
    broker_problem: str = ""


def waiting() -> Waiting:
    """One count in the orders' database and one passive look at the queues, of a second at most."""
    pending = Order.objects.filter(status=Order.Status.PENDING).count()
    try:
        with Connection(settings.BROKER_URL, connect_timeout=1) as connection:
            connection.ensure_connection(max_retries=0, timeout=1)
            depths = topology.depths(connection)
    except (OSError, OperationalError, AMQPError) as error:
        problem = f"the broker does not answer ({type(error).__name__})"
        return Waiting(pending=pending, dead_letters={}, broker_problem=problem)
    except topology.TopologyError as error:
        return Waiting(pending=pending, dead_letters={}, broker_problem=str(error))
    dead = {
        name.removesuffix(".dead"): messages
        for name, (messages, _) in depths.items()
        if name.endswith(".dead") and messages
    }
    return Waiting(pending=pending, dead_letters=dead)
