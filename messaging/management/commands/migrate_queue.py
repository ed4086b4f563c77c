"""`manage.py migrate_queue <name>`: give a queue the declared arguments without losing a message."""

import time
from typing import Any

from amqp.exceptions import AMQPError
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError
from kombu import Connection
from kombu.exceptions import OperationalError as BrokerError
from rich.console import Console
from rich.progress import Progress, TaskID

from messaging import queue_migration


class Command(BaseCommand):
    help = (
        "Gives a queue that exists with other arguments the declared ones, without losing a message. Stop the queue's "
        "consumers first. Killed in the middle, it goes on when it is run again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the queue, such as billing or billing.dead")
        parser.add_argument(
            "--wait", action="store_true", help="wait until nobody uses the queue, instead of refusing"
        )

    def handle(self, *args: Any, name: str, wait: bool, **options: Any) -> None:
        with Connection(settings.BROKER_URL, connect_timeout=5) as connection:
            connection.ensure_connection(max_retries=20, interval_start=0.2, interval_max=1)
            try:
                queue_migration.declared_queue(name)
                if wait:
                    self._wait(name, connection)
                with Progress(console=Console(stderr=True)) as bars:
                    is_changed = queue_migration.migrate(name, connection, progress=_Bars(bars).show)
            except queue_migration.MigrationRefused as error:
                raise CommandError(str(error)) from error
            except (OSError, AMQPError, BrokerError) as error:
                raise CommandError(
                    f"The broker went away ({type(error).__name__}: {error}). Nothing is lost; run the command again."
                ) from error
            except OperationalError as error:
                raise CommandError(
                    f"An outbox could not be locked ({str(error).strip()}). Nothing is lost; run the command again."
                ) from error
        if is_changed:
            self.stdout.write(f"the queue {name} has the declared arguments, and its messages")
        else:
            self.stdout.write(f"the queue {name} has the declared arguments already")

    def _wait(self, name: str, connection: Connection) -> None:
        said: list[str] = []
        while users := queue_migration.users_of(name, connection):
            if users != said:
                self.stdout.write(f"waiting: {'; '.join(users)}")
                said = users
            time.sleep(1)


class _Bars:
    """A bar for each move."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._known: dict[str, TaskID] = {}

    def show(self, what: str, moved: int, total: int) -> None:
        if what not in self._known:
            self._known[what] = self._bars.add_task(what, total=max(total, 1))
        self._bars.update(self._known[what], completed=moved or (1 if not total else 0), total=max(total, 1))
