"""`manage.py collect_dead_letters`: from the dead-letter queues into the database."""

import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from deadletters.collecting.collector import DATABASE, NAME, Collector
from messaging.database import name_sessions
from messaging.process_port import process_port
from messaging.topology import TopologyError


class Command(BaseCommand):
    help = "Drains every <service>.dead into the database, until it is told to stop (Ctrl-C or SIGTERM)."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        try:
            name_sessions(NAME, database=DATABASE)
            with process_port(databases=[DATABASE]):
                Collector(broker_url=settings.BROKER_URL, stop=stop).run()
        except TopologyError as error:
            raise CommandError(str(error)) from error
