"""`manage.py orchestrator`: move the sagas."""

import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from messaging.database import name_sessions
from messaging.process_port import process_port
from messaging.topology import TopologyError
from sagas.errors import MissingDefinition
from sagas.handlers import SERVICE
from sagas.models import SagaRecord
from sagas.orchestrator import Orchestrator
from sagas.records import DATABASE
from sagas.registry import definition
from sagas.version_checks import check_shapes


class Command(BaseCommand):
    help = "Moves the sagas on, until it is told to stop (Ctrl-C or SIGTERM). Several may run."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        name_sessions(SERVICE, database=DATABASE)
        running = SagaRecord.objects.filter(finished_at__isnull=True).order_by()
        for problem in check_shapes(None):
            raise CommandError(f"{problem.msg} {problem.hint}")
        try:
            for name, version in running.values_list("name", "version").distinct():
                definition(name, version)
            orchestrator = Orchestrator(
                broker_url=settings.BROKER_URL, batch_size=settings.ORCHESTRATOR_BATCH, stop=stop
            )
            with process_port(databases=[DATABASE]):
                orchestrator.run()
        except (MissingDefinition, TopologyError) as error:
            raise CommandError(str(error)) from error
