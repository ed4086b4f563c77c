"""Whether everything that an order needs is there."""

from typing import Any

from amqp.exceptions import AMQPError
from django.conf import settings
from django.db import DatabaseError, connections
from django.http import HttpRequest, JsonResponse
from kombu import Connection
from kombu.exceptions import OperationalError

from deadletters.tallies import open_by_service
from messaging import topology

RELAY = "makegood-relay"
"""The relay's name among PostgreSQL's sessions."""


def healthz(request: HttpRequest) -> JsonResponse:
    """200 as long as the process answers."""
    return JsonResponse({"status": "alive"})


def readyz(request: HttpRequest) -> JsonResponse:
    """200 when an order would be carried out now; else 503 with what is missing."""
    found = look()
    return JsonResponse(found, status=200 if found["status"] == "ready" else 503)


def look() -> dict[str, Any]:
    """`status`, `missing` (sentences), and each service's dead letters that wait for a person, collected or not."""
    missing = [problem for alias in sorted(set(settings.SERVICES.values())) for problem in _database(alias)]
    dead_letters: dict[str, int] = {}
    try:
        with Connection(settings.BROKER_URL, connect_timeout=2) as connection:
            connection.ensure_connection(max_retries=0, timeout=2)
            for name, (messages, consumers) in topology.depths(connection).items():
                if name.endswith(".dead"):
                    dead_letters[name.removesuffix(".dead")] = messages
                if not consumers:
                    missing.append(f"nobody consumes the queue {name}")
    except (OSError, AMQPError, OperationalError) as error:
        missing.append(f"the broker does not answer ({type(error).__name__})")
    except topology.TopologyError as error:
        missing.append(str(error))
    for service, letters in _open_letters().items():
        dead_letters[service] = dead_letters.get(service, 0) + letters
    return {
        "status": "not ready" if missing else "ready",
        "missing": missing,
        "dead_letters": dead_letters,
    }


def _database(alias: str) -> list[str]:
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name = %s",
                [RELAY],
            )
            (relays,) = cursor.fetchone()
    except DatabaseError:
        return [f"the database {alias} does not answer"]
    return [] if relays else [f"no relay serves the database {alias}"]


def _open_letters() -> dict[str, int]:
    try:
        return open_by_service()
    except DatabaseError:
        return {}  # that `default` does not answer is among what is missing
