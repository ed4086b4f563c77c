"""`manage.py declare_topology`: exchanges, queues and bindings on the broker."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from kombu import Connection

from messaging import topology


class Command(BaseCommand):
    help = "Declares every exchange, queue and binding that the services' handlers need. Safe to repeat."

    def handle(self, *args: Any, **options: Any) -> None:
        with Connection(settings.BROKER_URL, connect_timeout=5) as connection:
            connection.ensure_connection(max_retries=20, interval_start=0.2, interval_max=1)
            try:
                declared = topology.declare(connection)
            except topology.TopologyError as error:
                raise CommandError(str(error)) from error
        self.stdout.write(f"declared {len(declared)} queues: {', '.join(declared)}")
