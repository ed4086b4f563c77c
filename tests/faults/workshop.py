"""A part of the shop in which faults are made: a relay, a worker that makes trouble, and proxies between all."""

import json
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from django.db import connections, transaction
from kombu import Connection

from launcher.processes import ORCHESTRATOR, RELAY, Process
from launcher.supervisor import GRACE
from messaging.envelope import Envelope, new_message_id, utc_now
from messaging.models import FailedAttempt
from messaging.outbox_rows import OutgoingMessage, insert_statement, wake_relay_statement
from tests.databases import Databases
from tests.faults.proxy import Proxy
from tests.running_shop import ROOT, RunningShop, wait_until

SERVICES = ROOT / "tests" / "faults" / "services"
WORKER = "trouble-worker"
TYPE = "trouble.misbehave.v1"


@dataclass(frozen=True)
class Trouble:
    """A message that was put in the outbox."""

    effect: UUID
    message_id: UUID


class Workshop(RunningShop):
    """A relay, and a worker for the service `trouble`, whose connections all go through proxies.

    Where the handler is to misbehave is told by the message; see tests/faults/services/trouble/handlers.py.
    """

    time_limit = max(2.0, float(os.environ.get("MAKEGOOD_AWAY_SECONDS", "0")) / 10)
    """Seconds after which Celery kills the process of a task. Each kill is a delivery: while a database is away, there
    must not be as many as the queue's limit, which real workers reach after hours only."""
    soft_shutdown = 0.5
    """Seconds that a worker has to finish its tasks when it is told to end."""

    def __init__(
        self, *, databases: Databases, folder: Path, broker_url: str, prefix: str = "workshop"
    ) -> None:
        self.broker_url = broker_url
        self.runs_folder = folder / "runs"
        self.runs_folder.mkdir()
        self._databases = databases
        super().__init__(databases=databases, folder=folder, prefix=prefix)
        self.use({**self.environment, "BROKER_URL": broker_url})

    def put_between(
        self, relay_broker: Proxy, relay_database: Proxy, worker_broker: Proxy, worker_database: Proxy
    ) -> None:
        """Let the processes, before they are started, reach their servers through these."""
        self.relay_broker, self.relay_database = relay_broker, relay_database
        self.worker_broker, self.worker_database = worker_broker, worker_database
        self.use(self.environment)

    def heal(self) -> None:
        for proxy in self._proxies():
            proxy.heal()

    def table(self, environment: dict[str, str]) -> list[Process]:
        known = {process.name: process for process in super().table(environment)}
        relay, worker = known[RELAY], known["billing-worker"]
        argv = tuple("trouble@%h" if part == "billing@%h" else part for part in worker.argv)
        worker = replace(
            worker, name=WORKER, argv=argv, environment={**worker.environment, "SERVICE": "trouble"}
        )
        orchestrator = known[ORCHESTRATOR]
        if not self._proxies():
            return [relay, worker, orchestrator]
        return [
            orchestrator,
            _through(relay, self.relay_broker, self.relay_database),
            _through(worker, self.worker_broker, self.worker_database),
        ]

    def start(self) -> None:
        """Declare the queues and empty them; then start the processes."""
        with connections["default"].cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS trouble_effect (effect uuid NOT NULL)")
        declared = self.manage("declare_topology")
        assert declared.returncode == 0, declared.stderr
        self.purge()
        self.processes.start(RELAY, WORKER)

    def stop(self, *, grace: float = GRACE) -> None:
        super().stop(grace=grace)
        with Connection(self.broker_url) as connection:
            for name in ("trouble", "trouble.dead"):
                connection.default_channel.queue_delete(name)
        for name in self.names.values():
            self._databases.drop(name)

    def purge(self) -> None:
        with Connection(self.broker_url) as connection:
            for name in self._queues():
                connection.default_channel.queue_purge(name)

    def send(self, how: str, *, times: int = 1_000_000, seconds: float = 0) -> Trouble:
        """Put one message for the service in the outbox, to misbehave so many times."""
        return self.send_all([(how, times, seconds)])[0]

    def send_all(self, wanted: Iterable[tuple[str, int, float]]) -> list[Trouble]:
        """Put many in the outbox in one transaction."""
        troubles, rows = [], []
        for how, times, seconds in wanted:
            trouble = Trouble(effect=uuid4(), message_id=new_message_id())
            troubles.append(trouble)
            body = {"effect": str(trouble.effect), "how": how, "times": times, "seconds": seconds}
            rows.append(a_row(message_id=trouble.message_id, body=body))
        put_in_the_outbox(rows)
        return troubles

    def runs(self, trouble: Trouble) -> int:
        """How often the handler was begun."""
        path = self.runs_folder / str(trouble.effect)
        return len(path.read_text().splitlines()) if path.exists() else 0

    def effects(self, trouble: Trouble) -> int:
        """How many effects are committed."""
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM trouble_effect WHERE effect = %s", [trouble.effect])
            return int(cursor.fetchone()[0])

    def count_effects(self) -> int:
        """How many effects are committed, of whatever message."""
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM trouble_effect")
            return int(cursor.fetchone()[0])

    def wait_for_effect(self, *troubles: Trouble, timeout: float = 60) -> None:
        effects = [trouble.effect for trouble in troubles]

        def are_there() -> bool:
            with connections["default"].cursor() as cursor:
                cursor.execute(
                    "SELECT count(DISTINCT effect) FROM trouble_effect WHERE effect = ANY(%s::uuid[])",
                    [effects],
                )
                return bool(cursor.fetchone()[0] == len(effects))

        wait_until(
            are_there, what=f"the effects of {len(troubles)} messages (see {self.log_file})", timeout=timeout
        )

    def failures(self, trouble: Trouble) -> list[FailedAttempt]:
        return list(FailedAttempt.objects.filter(message_id=trouble.message_id).order_by("attempt"))

    def dead_letter(self, trouble: Trouble, *, timeout: float = 60) -> dict[str, Any]:
        """The headers of its dead letter, once the broker has it."""
        return self.dead_letters(trouble, timeout=timeout)[0]

    def dead_letters(self, *troubles: Trouble, timeout: float = 60) -> list[dict[str, Any]]:
        """The headers of their dead letters, once the broker has them all; fails on any other letter."""
        found: dict[str, dict[str, Any]] = {}
        wanted = [str(trouble.message_id) for trouble in troubles]

        def are_there() -> bool:
            for headers in self.take_dead("trouble"):
                name = headers["message_id"]
                assert name in wanted, f"a dead letter that nobody expects: {headers}"
                assert name not in found, f"a second dead letter of one message: {headers}"
                found[name] = headers
            return len(found) == len(wanted)

        wait_until(are_there, what=f"{len(wanted)} dead letters (see {self.log_file})", timeout=timeout)
        return [found[name] for name in wanted]

    def take_dead(self, service: str) -> list[dict[str, Any]]:
        """Take the dead letters of a service; returns their headers."""
        taken = []
        with Connection(self.broker_url) as connection:
            channel = connection.default_channel
            while (letter := channel.basic_get(f"{service}.dead", no_ack=True)) is not None:
                taken.append(letter.headers)
        return taken

    def wait_until_idle(self, *, timeout: float = 60) -> None:
        """Wait until no message is in a queue or in a worker's hands."""
        wait_until(lambda: self._unfinished() == 0, what="the queues to be empty", timeout=timeout)

    def wait_for_consumer(self, queue: str = "trouble", *, timeout: float = 60) -> None:
        """Wait until somebody consumes the queue."""

        def consumers() -> int:
            with Connection(self.broker_url) as connection:
                return connection.default_channel.queue_declare(queue, passive=True).consumer_count

        wait_until(consumers, what=f"a consumer of {queue} (see {self.log_file})", timeout=timeout)

    def interrupt(self, name: str) -> None:
        self.processes.signal(name, signal.SIGTERM)

    def said(self, text: str) -> bool:
        """Whether a process has written this."""
        return text in self.log_file.read_text()

    def control_broker(self, *arguments: str) -> str:
        """Run `rabbitmqctl` on the suite's broker."""
        return self.servers.rabbitmq.control(*arguments)

    @contextmanager
    def policy(self, queue: str, definition: dict[str, Any]) -> Iterator[None]:
        """Inside, the broker treats this queue so, whatever arguments it was declared with."""
        vhost = self.broker_url.rpartition("/")[2]
        self.control_broker("set_policy", "-p", vhost, "fault", f"^{queue}$", json.dumps(definition))
        try:
            yield
        finally:
            self.control_broker("clear_policy", "-p", vhost, "fault")

    def broker_log(self) -> str:
        """What the broker has written."""
        return self.servers.rabbitmq.log.read_text(errors="replace")

    @staticmethod
    def let_pass(seconds: float) -> None:
        """Let a fault last: the time itself is what a test is about, and there is no condition to wait for."""
        time.sleep(seconds)

    def queues(self) -> str:
        """What the broker says of its queues: name, messages, and how many of them somebody holds."""
        vhost = self.broker_url.rpartition("/")[2]
        return self.control_broker("list_queues", "-p", vhost, "name", "messages", "messages_unacknowledged")

    def _unfinished(self) -> int:
        rows = [line.split("\t") for line in self.queues().splitlines()]
        return sum(
            int(row[1]) for row in rows if len(row) == 3 and row[1].isdigit() and not row[0].endswith(".dead")
        )

    @staticmethod
    def _queues() -> list[str]:
        from messaging import topology

        names = [*topology.services(), "trouble"]
        return [queue for name in names for queue in (name, f"{name}.dead")]

    def _environment(self) -> dict[str, str]:
        return {
            **super()._environment(),
            "DJANGO_SETTINGS_MODULE": "trouble_settings",
            "PYTHONPATH": str(SERVICES),
            "TROUBLE_FOLDER": str(self.runs_folder),
            "TROUBLE_TIME_LIMIT": str(self.time_limit),
            "TROUBLE_SOFT_SHUTDOWN": str(self.soft_shutdown),
            "RETRY_ATTEMPTS": "3",
            "RETRY_FIRST_PAUSE": "0.05",
        }

    def _proxies(self) -> list[Proxy]:
        names = ("relay_broker", "relay_database", "worker_broker", "worker_database")
        return [getattr(self, name) for name in names if hasattr(self, name)]


def _through(process: Process, broker: Proxy, database: Proxy) -> Process:
    given = process.environment
    own = {
        "BROKER_URL": broker.instead_of(given["BROKER_URL"]),
        "DATABASE_URL": database.instead_of(given["DATABASE_URL"]),
    }
    return replace(process, environment={**given, **own})


def a_row(
    *,
    message_id: UUID,
    body: dict[str, Any],
    wire_type: str = TYPE,
    exchange: str = "commands",
    routing_key: str = "trouble.misbehave",
) -> OutgoingMessage:
    return OutgoingMessage(
        envelope=Envelope(
            message_id=message_id,
            type=wire_type,
            idempotency_key=str(message_id),
            correlation_id=str(message_id),
            occurred_at=utc_now(),
        ),
        body=body,
        service="trouble",
        exchange=exchange,
        routing_key=routing_key,
        available_at=utc_now(),
    )


def put_in_the_outbox(rows: list[OutgoingMessage]) -> None:
    """Write the rows to the outbox of `default` in one transaction."""
    with transaction.atomic(using="default"), connections["default"].cursor() as cursor:
        cursor.execute(*insert_statement(rows))
        cursor.execute(*wake_relay_statement())
