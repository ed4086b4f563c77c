"""Messages that die on the tests' own virtual host, and collectors in a thread or in a process of their own."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import amqp
import msgspec
import pytest
from django.conf import settings
from django.db import connections
from kombu import Connection

from contracts.message import Message
from deadletters.collecting.collector import Collector
from deadletters.models import DeadLetter
from launcher import environment as environments
from messaging import topology
from messaging.envelope import Envelope
from tests.builders import an_envelope

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def broker(broker_url: str) -> Iterator[Connection]:
    """A connection to a broker that has the topology and no messages."""
    with Connection(broker_url, connect_timeout=5) as connection:
        for queue in topology.declare(connection):
            connection.default_channel.queue_purge(queue)
        yield connection


class Dying:
    """Messages that come to a service's queue and die there. Each is marked, so that its letter is found again."""

    def __init__(self, broker: Connection) -> None:
        self._broker = broker
        self.channel = broker.default_channel

    def of_bytes(
        self, service: str, body: Any, headers: dict[str, Any] | None = None, **properties: Any
    ) -> str:
        mark = uuid4().hex
        message = amqp.Message(
            body, application_headers={**(headers or {}), "x-mark": mark}, delivery_mode=2, **properties
        )
        self.channel.basic_publish(message, exchange="", routing_key=service)
        self.reject(service)
        return mark

    def of_message(self, service: str, message: Message, envelope: Envelope | None = None) -> Envelope:
        """The message as the relay publishes it, rejected by its consumer."""
        envelope = envelope or an_envelope(message)
        self.publish(service, message, envelope)
        self.reject(service)
        return envelope

    def publish(self, service: str, message: Message, envelope: Envelope) -> None:
        wire = amqp.Message(
            msgspec.json.encode([[message.to_payload()], {}, {}]),
            application_headers=envelope.to_headers(),
            content_type="application/json",
            content_encoding="utf-8",
            message_id=str(envelope.message_id),
            delivery_mode=2,
        )
        self.channel.basic_publish(
            wire, exchange="commands", routing_key=f"{service}.{envelope.type.split('.')[1]}"
        )

    def reject(self, service: str, *, requeue: bool = False) -> bool:
        for _ in range(500):
            if (message := self.channel.basic_get(service)) is not None:
                self.channel.basic_reject(message.delivery_tag, requeue=requeue)
                return True
        return False

    def by_delivery_limit(self, service: str, message: Message, envelope: Envelope | None = None) -> Envelope:
        """The message as one that was with each of the consumers that died."""
        envelope = envelope or an_envelope(message)
        self.publish(service, message, envelope)
        for _ in range(settings.DELIVERY_LIMIT + 1):
            assert self.reject(service, requeue=True)
        return envelope


@pytest.fixture
def dying(broker: Connection) -> Dying:
    return Dying(broker)


class RunningCollector:
    """A collector in a thread of this process."""

    def __init__(self, broker_url: str) -> None:
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self.collector = Collector(broker_url=broker_url, stop=self.stop)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.collector.run()
        except BaseException as error:
            self.error = error
        finally:
            connections.close_all()

    def end(self) -> None:
        self.stop.set()
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()
        assert self.error is None


@pytest.fixture
def start_collector(
    broker: Connection, broker_url: str, committed: None
) -> Iterator[Callable[[], RunningCollector]]:
    running: list[RunningCollector] = []

    def start() -> RunningCollector:
        running.append(RunningCollector(broker_url))
        return running[-1]

    yield start
    for collector in running:
        collector.end()


@pytest.fixture
def spawn_collector(
    broker: Connection, broker_url: str, committed: None
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A collector in a process of its own, on this run's databases."""
    spawned: list[subprocess.Popen[str]] = []

    def spawn(**extra: str) -> subprocess.Popen[str]:
        spawned.append(
            subprocess.Popen(
                [str(ROOT / ".venv/bin/python"), "manage.py", "collect_dead_letters"],
                cwd=ROOT,
                env={**_own_databases(), "BROKER_URL": broker_url, **extra},
                stderr=subprocess.DEVNULL,
                text=True,
            )
        )
        return spawned[-1]

    yield spawn
    for process in spawned:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def run_shell(committed: None) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Code in a process of its own, on this run's databases, whose output can be read."""
    begun: list[subprocess.Popen[str]] = []

    def run(code: str) -> subprocess.Popen[str]:
        begun.append(
            subprocess.Popen(
                [str(ROOT / ".venv/bin/python"), "manage.py", "shell", "--no-imports", "-c", code],
                cwd=ROOT,
                env=_own_databases(),
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        return begun[-1]

    yield run
    for process in begun:
        process.kill()
        process.communicate(timeout=30)


def _own_databases() -> dict[str, str]:
    given = environments.read(Path(os.environ["MAKEGOOD_ENV_FILE"]))
    server = given["DATABASE_URL"].rpartition("/")[0]
    own = {
        "DATABASE_URL" if alias == "default" else f"{alias.upper()}_DATABASE_URL": (
            f"{server}/{connections[alias].settings_dict['NAME']}"
        )
        for alias in sorted(set(settings.SERVICES.values()))
    }
    return {**os.environ, **given, **own}


@pytest.fixture
def letter_of(eventually) -> Callable[..., DeadLetter]:
    """Wait for the newest letter with this mark or message id."""

    def letter_of_(mark: str | UUID, *, timeout: float = 60, **more: Any) -> DeadLetter:
        asked = {"headers__x-mark": mark} if isinstance(mark, str) else {"message_id": mark}
        letters = DeadLetter.objects.filter(**asked, **more).order_by("-id")
        return eventually(letters.first, timeout=timeout, tell=lambda: f"no letter of {mark}")

    return letter_of_


@pytest.fixture
def editing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "LETTER_EDITING", True)
    monkeypatch.setattr(settings, "LETTER_EDITS_NEED_APPROVAL", False)


@pytest.fixture
def with_approval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "LETTER_EDITS_NEED_APPROVAL", True)
