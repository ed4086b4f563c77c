"""Where it is measured: databases and queues of the run's own, and the processes that are compared."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
from kombu import Connection, Queue
from psycopg2 import sql

from benchmarks.errors import BenchmarkError
from benchmarks.messages import REPLIES, SERVICE
from benchmarks.peers.saga_names import STEPS
from benchmarks.processes import cpu_seconds, family
from benchmarks.saga_messages import SERVICES as SAGA_SERVICES
from benchmarks.waiting import PACE, wait_until
from launcher.state import State

ROOT = Path(__file__).resolve().parent.parent
COUNTERS = 2000
_TABLES = """
CREATE TABLE benchmarks_counter (id integer PRIMARY KEY, value bigint NOT NULL);
INSERT INTO benchmarks_counter SELECT number, 0 FROM generate_series(0, %s) AS number;
CREATE TABLE benchmarks_start (marker uuid PRIMARY KEY, started_at double precision NOT NULL);
CREATE TABLE benchmarks_effect (
    step text, counter integer, value bigint NOT NULL, version bigint NOT NULL, PRIMARY KEY (step, counter));
INSERT INTO benchmarks_effect SELECT step, number, 0, 0 FROM unnest(%s) AS step, generate_series(0, %s) AS number"""
_QUEUES = (SERVICE, REPLIES, "sagas", "inventory", *SAGA_SERVICES)
"""Those that the measurements leave messages in."""
_SETTINGS_OF_SERVICES = re.compile(r"^(SERVICE|BROKER_URL|(\w+_)?DATABASE_URL)$")


@dataclass(frozen=True)
class Place:
    """One database and one virtual host: `small` as it is in a young shop, `large` with years of rows."""

    name: str
    database_url: str
    broker_url: str
    env_file: Path

    def connect(self) -> Any:
        connection = psycopg2.connect(self.database_url)
        connection.autocommit = True
        return connection

    def query(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement on a connection of its own; returns the rows, if any."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def declare(self, *queues: str) -> None:
        """Quorum queues for the peers, as durable as ours."""
        with Connection(self.broker_url) as connection:
            for name in queues:
                Queue(name, durable=True, queue_arguments={"x-queue-type": "quorum"})(connection).declare()

    def purge(self, *queues: str) -> None:
        with Connection(self.broker_url) as connection:
            for name in queues:
                connection.default_channel.queue_purge(name)

    def delete_queues(self, *queues: str) -> None:
        with Connection(self.broker_url) as connection:
            for name in queues:
                connection.default_channel.queue_delete(name)

    def depth(self, queue: str) -> int:
        """How many messages are ready in the queue."""
        with Connection(self.broker_url) as connection:
            return int(connection.default_channel.queue_declare(queue, passive=True).message_count)

    def consumers(self, queue: str) -> int:
        """How many consumers the queue has."""
        with Connection(self.broker_url) as connection:
            return int(connection.default_channel.queue_declare(queue, passive=True).consumer_count)

    def counted(self, connection: Any) -> int:
        """How many commands have been handled, whoever did it."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT sum(value) FROM benchmarks_counter")
            return int(cursor.fetchone()[0])


@dataclass
class Stage:
    """Everything that a run has made, and undoes."""

    python: Path
    peers_python: Path
    folder: Path
    server: Mapping[str, str]
    other_peers: Mapping[str, Path] = field(default_factory=dict)
    """The Python of each peer that has a virtualenv of its own, by the peer's name."""
    places: dict[str, Place] = field(default_factory=dict)

    @property
    def has_peers(self) -> bool:
        return self.peers_python.exists()

    def python_of_peer(self, name: str) -> Path | None:
        """None where its virtualenv has not been made."""
        python = self.other_peers.get(name)
        return python if python is not None and python.exists() else None

    def cpu_seconds_of_servers(self) -> float | None:
        """What PostgreSQL and RabbitMQ have used; None where they are not the launcher's own on this machine."""
        state = State(self.folder.parent)
        found = [state.identity(name) for name in ("postgres", "rabbitmq")]
        servers = [server for server in found if server is not None]
        return sum(cpu_seconds(server.pid) for server in servers) if len(servers) == 2 else None

    def place(self, name: str) -> Place:
        """The place of that name; made, migrated and with its topology when it is first asked for."""
        if name not in self.places:
            self.places[name] = self._make(name)
        return self.places[name]

    def _make(self, name: str) -> Place:
        database = f"bench_{name}"
        place = Place(
            name=name,
            database_url=f"{self.server['DATABASE_URL'].rpartition('/')[0]}/{database}",
            broker_url=urlsplit(self.server["BROKER_URL"])
            ._replace(path="/bench" if name == "small" else f"/bench_{name}")
            .geturl(),
            env_file=self.folder / f"{name}.env",
        )
        own = {
            **{key: value for key, value in self.server.items() if not _SETTINGS_OF_SERVICES.match(key)},
            "DATABASE_URL": place.database_url,
            "BROKER_URL": place.broker_url,
        }
        place.env_file.write_text("".join(f"{key}={value}\n" for key, value in own.items()))
        place.env_file.chmod(0o600)
        self._drop(database)
        self._on_server("CREATE DATABASE {}", database)
        self.manage(place, "migrate_services")
        self.manage(place, "declare_topology")
        place.query(_TABLES, COUNTERS - 1, list(STEPS), COUNTERS - 1)
        place.purge(*_QUEUES)
        return place

    def clean(self) -> None:
        """Remove the databases and empty the queues that the run has made."""
        for place in self.places.values():
            self._drop(urlsplit(place.database_url).path.removeprefix("/"))
            place.purge(*_QUEUES)
            place.env_file.unlink(missing_ok=True)
        self.places.clear()

    def environment(self, place: Place, **more: str) -> dict[str, str]:
        """Of a process at that place. It knows one database: every service shares it."""
        inherited = {key: value for key, value in os.environ.items() if not _SETTINGS_OF_SERVICES.match(key)}
        inherited.pop("DJANGO_SETTINGS_MODULE", None)
        return {
            **inherited,
            "MAKEGOOD_ENV_FILE": str(place.env_file),
            "DATABASE_URL": place.database_url,
            "BROKER_URL": place.broker_url,
            "LOG_LEVEL": "WARNING",
            "PYTHONUNBUFFERED": "1",
            **more,
        }

    def manage(self, place: Place, *arguments: str) -> None:
        self.run(place, "manage.py", *arguments)

    def _environment_for(self, place: Place, python: Path | None, more: Mapping[str, str]) -> dict[str, str]:
        """A peer knows nothing of our settings."""
        ours = {} if python else {"DJANGO_SETTINGS_MODULE": "benchmarks.settings"}
        return self.environment(place, **{**ours, **more})

    def run(self, place: Place, *arguments: str, python: Path | None = None, **environment: str) -> str:
        """Run a Python program to its end; returns what it printed."""
        finished = subprocess.run(
            [str(python or self.python), *arguments],
            cwd=ROOT,
            env=self._environment_for(place, python, environment),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if finished.returncode != 0:
            raise BenchmarkError(
                f"`{' '.join(arguments)}` ended with {finished.returncode}:\n{finished.stdout}{finished.stderr}"
            )
        return finished.stdout

    @contextmanager
    def running(
        self,
        place: Place,
        name: str,
        *arguments: str,
        python: Path | None = None,
        is_asked: bool = False,
        **environment: str,
    ) -> Iterator["Running"]:
        """A process that runs meanwhile, with its log in the folder; it and its children are ended afterwards.

        One that is asked (`Running.ask`) answers on its standard output.
        """
        log = self.folder / f"{name}.log"
        with log.open("w") as sink:
            process = subprocess.Popen(
                [str(python or self.python), *arguments],
                cwd=ROOT,
                env=self._environment_for(place, python, environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if is_asked else sink,
                stderr=sink,
                text=True,
                start_new_session=True,  # so that all of it can be ended, and nothing else
            )
        running = Running(name=name, process=process, log=log)
        try:
            yield running
        finally:
            running.end()

    def relay(self, place: Place) -> Any:
        return self.running(place, f"relay-{place.name}", "manage.py", "relay")

    def worker(self, place: Place, *, concurrency: int, service: str = SERVICE, name: str = "worker") -> Any:
        """Our worker of a measured service, with the project's own settings."""
        return self.running(
            place,
            f"{name}-{place.name}",
            *("-m", "celery", "-A", "project", "worker", "-n", f"{service}-{name}-{place.name}@%h"),
            f"--concurrency={concurrency}",
            SERVICE=service,
            REMAP_SIGTERM="SIGQUIT",
        )

    def _drop(self, database: str) -> None:
        self._on_server("DROP DATABASE IF EXISTS {} WITH (FORCE)", database)

    def _on_server(self, statement: str, database: str) -> None:
        connection = psycopg2.connect(f"{self.server['DATABASE_URL'].rpartition('/')[0]}/postgres")
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL(statement).format(sql.Identifier(database)))
        finally:
            connection.close()


@dataclass(frozen=True)
class Running:
    """A process of the run."""

    name: str
    process: subprocess.Popen[str]
    log: Path

    def ask(self, order: Any) -> Any:
        """Send a line of JSON and return the line that answers it."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise BenchmarkError(f"{self.name} ended. The end of its log:\n{self.tail()}")
        return json.loads(answer)

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Stop it and its children meanwhile, so that they do nothing and lose nothing."""
        members = family(self.process.pid)
        try:
            for member in members:
                os.kill(member, signal.SIGSTOP)
            yield
        finally:
            for member in members:
                os.kill(member, signal.SIGCONT)

    def check(self) -> None:
        """Raises where the process has ended."""
        if self.process.poll() is not None:
            raise BenchmarkError(
                f"{self.name} ended with {self.process.returncode}. The end of its log:\n{self.tail()}"
            )

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=20)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def wait_while_running(
    condition: Callable[[], object], *processes: Running, what: str, timeout: float, every: float = PACE
) -> None:
    """Wait until the condition holds; raises where one of the processes ends, or it takes too long."""

    def holds() -> bool:
        for process in processes:
            process.check()
        return bool(condition())

    logs = ", ".join(str(process.log) for process in processes)
    wait_until(holds, what=f"{what} (logs: {logs})", timeout=timeout, every=every)


def python_of(virtualenv: Path) -> Path:
    return virtualenv / "bin" / "python"
