"""What the admin's first page says at a glance."""

from datetime import datetime, timedelta

import msgspec
from amqp.exceptions import AMQPError
from django.conf import settings
from django.db import Error
from kombu import Connection
from kombu.exceptions import OperationalError

from deadletters.tallies import open_by_service
from messaging import topology
from messaging.envelope import utc_now
from messaging.gaps import Gap, gaps
from messaging.models import CircuitBreaker
from orders.models import Order
from sagas.models import sagas_for_a_person

PATIENCE = timedelta(seconds=10)
"""A gap closes by itself in less; one that is older is worth an operator's look."""
MOST_GAPS = 20
"""As many are listed; `manage.py streams gaps` lists all."""


class OpenBreaker(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway that a service leaves alone; its messages wait."""

    service: str
    gateway: str
    since: datetime | None


class Gateways(msgspec.Struct, frozen=True, kw_only=True):
    """The open breakers, and the databases that do not say whether they hold one."""

    left_alone: list[OpenBreaker]
    unknown: list[str]


class Gaps(msgspec.Struct, frozen=True, kw_only=True):
    """Gaps in streams, and the services whose database does not say whether they have any."""

    found: list[Gap]
    unknown: list[str]


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Orders under way, sagas that need a person, open dead letters by service, and what keeps the broker from telling.

    `pending` is None where the orders' database does not answer.
    """

    pending: int | None
    sagas: int
    dead_letters: dict[str, int]
    uncollected: int = 0
    broker_problem: str = ""


def waiting() -> Waiting:
    """Three counts, and one passive look at the queues, of a second at most."""
    known = {
        "pending": _pending_orders(),
        "sagas": sagas_for_a_person().count(),
        "dead_letters": dict(sorted(open_by_service().items())),
    }
    try:
        with Connection(settings.BROKER_URL, connect_timeout=1) as connection:
            connection.ensure_connection(max_retries=0, timeout=1)
            depths = topology.depths(connection)
    except (OSError, OperationalError, AMQPError) as error:
        problem = f"the broker does not answer ({type(error).__name__})"
        return Waiting(**known, broker_problem=problem)
    except topology.TopologyError as error:
        return Waiting(**known, broker_problem=str(error))
    uncollected = sum(messages for name, (messages, _) in depths.items() if name.endswith(".dead"))
    return Waiting(**known, uncollected=uncollected)


def _pending_orders() -> int | None:
    try:
        return Order.objects.filter(status=Order.Status.PENDING).count()
    except Error:
        return None


def gateways() -> Gateways:
    """Which gateways are left alone at the moment, in every service: one statement for each database."""
    left_alone, unknown = [], []
    for database in sorted(set(settings.SERVICES.values())):
        try:
            rows = CircuitBreaker.objects.using(database).filter(state=CircuitBreaker.State.OPEN)
            left_alone += [
                OpenBreaker(service=row.service, gateway=row.gateway, since=row.opened_at)
                for row in rows.order_by("service", "gateway")
            ]
        except Error:
            unknown.append(database)
    return Gateways(left_alone=left_alone, unknown=unknown)


def old_gaps() -> Gaps:
    """Events that ordered consumers have been waiting for, the oldest first: one statement for each service."""
    before = utc_now() - PATIENCE
    found, unknown = [], []
    for service in settings.SERVICES:
        try:
            found += gaps(service, before=before, limit=MOST_GAPS)
        except Error:
            unknown.append(service)
    return Gaps(found=sorted(found, key=lambda gap: gap.since)[:MOST_GAPS], unknown=unknown)
