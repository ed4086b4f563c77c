"""`manage.py relay`: publish what the outboxes hold."""

import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from messaging.process_port import process_port
from messaging.relay import run_relays


class Command(BaseCommand):
    help = "Publishes the outbox of every service's database, until it is told to stop (Ctrl-C or SIGTERM)."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        databases = sorted(set(settings.SERVICES.values()))
        self.stdout.write(f"relay: serving the outboxes of {', '.join(databases)}")
        self.stdout.flush()
        with process_port(databases=databases):
            run_relays(databases=databases, broker_url=settings.BROKER_URL, stop=stop)
