"""A whole shop for tests: the launcher's own processes on the suite's servers, in databases of its own."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO
from uuid import UUID

from django.conf import settings
from django.db import connections
from kombu import Connection

from launcher import environment as environments
from launcher import ports
from launcher.processes import Process, process_table
from launcher.servers import Servers
from launcher.supervisor import GRACE, Supervisor
from messaging import topology
from messaging.database import wait_until_back
from operations.mix import CARDS
from orders.models import Order, OrderStep
from orders.services import place_order
from sagas.models import MessageRecord
from tests.builders import an_order_request
from tests.databases import Databases, connected_to

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 120
"""Seconds after which what a test waits for does not come any more."""


def wait_until(condition: Callable[[], Any], *, what: str, timeout: float = PATIENCE) -> Any:
    """The first true answer of the condition; fails, naming what was waited for, where none comes in time."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.05)  # the pace of asking, not a time that anything is given
    raise AssertionError(f"waited {timeout:g} s in vain for: {what}")


class PlacedOrder:
    """An order of the running shop, as a test asks after it."""

    def __init__(self, order_id: UUID) -> None:
        self.id = order_id

    @property
    def status(self) -> str:
        return Order.objects.get(id=self.id).status

    @property
    def reason(self) -> str:
        return Order.objects.get(id=self.id).reason

    @property
    def progress(self) -> dict[str, str]:
        return dict(OrderStep.objects.filter(order_id=self.id).values_list("name", "state"))


class RunningShop:
    """Processes, servers and the questions that tests ask."""

    def __init__(self, *, databases: Databases, folder: Path, prefix: str = "shop") -> None:
        self.names = databases.clone(prefix)
        self.web_port, self.gateway_port, flower_port = (ports.any_free() for _ in range(3))
        self.gateway_url = f"http://127.0.0.1:{self.gateway_port}"
        self.url = f"http://127.0.0.1:{self.web_port}"
        self.servers = Servers.from_state(Path(os.environ["MAKEGOOD_ENV_FILE"]).parent)
        self.log_file = folder / "shop.log"
        self.emails = folder / "emails"
        self._failpoints = folder / "failpoints"
        self._failpoints.mkdir()
        self._books = folder / "gateway.sqlite3"
        self._flower_port = flower_port
        self._log: TextIO = self.log_file.open("a")
        self.use(self._environment())

    def use(self, environment: dict[str, str]) -> None:
        """Let the processes, before they are started, have this environment."""
        self.environment = environment
        self._table = self.table(environment)
        self.ports = {process.name: process.port for process in self._table if process.port is not None}
        """Where each process answers /metrics, /healthz and /readyz."""
        self.processes = Supervisor(
            self._table,
            sink=lambda name, line: print(f"{name} | {line}", file=self._log, flush=True),
        )

    def table(self, environment: dict[str, str]) -> list[Process]:
        """The processes that make the shop."""
        table = process_table(
            ROOT,
            environment,
            web_port=self.web_port,
            flower_port=self._flower_port,
            gateway_port=self.gateway_port,
            gateway_books=self._books,
        )
        return [process for process in table if process.name != "flower"]

    def _environment(self) -> dict[str, str]:
        given = environments.read(Path(os.environ["MAKEGOOD_ENV_FILE"]))
        own = {}
        for service, alias in settings.SERVICES.items():
            variable = "DATABASE_URL" if alias == "default" else f"{service.upper()}_DATABASE_URL"
            own[variable] = f"{given['DATABASE_URL'].rpartition('/')[0]}/{self.names[alias]}"
        return {
            **given,
            **own,
            "GATEWAY_URL": self.gateway_url,
            "GATEWAY_PUBLIC_URL": self.gateway_url,
            "GATEWAY_ALLOWED_ORIGINS": self.url,
            "EMAIL_URL": f"filemail:///{self.emails}",
            "DEMONSTRATION": "true",
            "MAKEGOOD_FAILPOINTS": str(self._failpoints),
            # A call whose process was killed is repeated when its lease has ended, which follows from this.
            "GATEWAY_TIMEOUT": "2",
        }

    def start(self) -> None:
        with Connection(settings.BROKER_URL) as connection:
            topology.declare(connection)
            with connection.channel() as channel:
                for service in topology.services():
                    channel.queue_purge(service)
                    channel.queue_purge(f"{service}.dead")
        self.processes.start()
        self.wait_until_ready()

    @contextmanager
    def running(self, *names: str, **environment: str) -> Iterator[None]:
        """Another release, or another configuration, of these processes; afterwards the usual one again."""
        usual = [process for process in self._table if process.name in names]
        self.processes.replace(
            *(replace(process, environment={**process.environment, **environment}) for process in usual)
        )
        self.wait_until_ready()
        try:
            yield
        finally:
            self.processes.replace(*usual)
            self.wait_until_ready()

    def stop(self, *, grace: float = GRACE) -> None:
        """End the processes; those that take longer than `grace` seconds are killed."""
        self.processes.stop(grace=grace)
        self._log.close()

    def throw_away(self) -> None:
        """End the processes as fast as can be: nobody asks what becomes of this shop's messages."""
        self.stop(grace=1)

    def wait_until_ready(self) -> None:
        wait_until(self._is_ready, what=f"/readyz to answer 200 (see {self.log_file})")

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=10) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def manage(self, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run one of the shop's commands to its end."""
        return subprocess.run(
            [str(ROOT / ".venv" / "bin" / "python"), "manage.py", *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    @contextmanager
    def placing(self, *arguments: str) -> Iterator[dict[str, Any]]:
        """Orders being placed and waited for by the command, while the body does its worst.

        At the end the dictionary has the command's summary.
        """
        before = self.count_finished()
        command = subprocess.Popen(
            [
                str(ROOT / ".venv/bin/python"),
                "manage.py",
                "place_orders",
                "--wait",
                "180",
                "--json",
                *arguments,
            ],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        summary: dict[str, Any] = {}
        try:
            wait_until(
                lambda: self.count_finished() >= before + 15, what="the first 15 orders to be finished"
            )
            yield summary
            out, err = command.communicate(timeout=240)
        except BaseException:
            command.kill()
            command.communicate()
            raise
        assert out, err
        summary.update(json.loads(out.splitlines()[-1]), exit_code=command.returncode)

    def count_finished(self) -> int:
        return Order.objects.exclude(status="pending").count()

    def reconnect(self) -> None:
        """Make this process's own connections good again after the database server was restarted."""
        for alias in self.names:
            wait_until_back(alias)

    def place_order(
        self, *, sku: str = "mug", quantity: int = 1, card: str = "approved", **address: str
    ) -> PlacedOrder:
        """Place an order through the service, as the form does."""
        request = an_order_request(sku=sku, quantity=quantity, card=CARDS.get(card, card), **address)
        return PlacedOrder(place_order(request, checkout_key=os.urandom(8).hex()).order_id)

    def arm(self, point: str) -> None:
        """Kill the first process that comes to this failpoint."""
        (self._failpoints / point).touch()

    def was_reached(self, point: str) -> bool:
        """Whether a process was killed at this failpoint."""
        return (self._failpoints / f"{point}.reached").exists()

    def disarm(self) -> None:
        for file in self._failpoints.iterdir():
            file.unlink()

    def order_by_api(self, *, sku: str = "mug", quantity: int = 1) -> PlacedOrder:
        """Place an order as a program does, over HTTP."""
        body = {
            "customer": {"name": "Ada Lovelace", "email": "ada@example.com"},
            "ship_to": {
                "line1": "12 St James's Square",
                "city": "London",
                "postcode": "SW1Y 4JH",
                "country": "GB",
            },
            "payment_token": "tok_visa",
            "lines": [{"sku": sku, "quantity": quantity}],
        }
        request = urllib.request.Request(
            f"{self.url}/api/orders",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Idempotency-Key": os.urandom(8).hex()},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 202
            return PlacedOrder(UUID(json.load(answer)["order_id"]))

    def settle(self, *orders: PlacedOrder, timeout: float = PATIENCE) -> None:
        """Wait until the orders are finished and nothing of them is under way."""
        ids = [order.id for order in orders]

        def is_settled() -> bool:
            pending = Order.objects.filter(id__in=ids, status="pending").exists()
            return not pending and not self._is_busy()

        wait_until(is_settled, what=f"orders {ids} to be finished", timeout=timeout)

    def _is_busy(self) -> bool:
        with Connection(settings.BROKER_URL) as connection:
            waiting = sum(
                n for name, (n, _) in topology.depths(connection).items() if not name.endswith(".dead")
            )
        return waiting > 0

    def commands(self, order: PlacedOrder) -> list[str]:
        """The commands that the order's sagas have sent, by their wire types without the version."""
        sent = MessageRecord.objects.filter(saga__correlation_id=str(order.id), direction="sent")
        return [wire_type.rsplit(".", 1)[0] for wire_type in sent.values_list("type", flat=True)]

    def audit(self) -> subprocess.CompletedProcess[str]:
        return self.manage("audit")

    def charges(self, order: PlacedOrder) -> list[dict[str, Any]]:
        """The gateway's own entries for the order."""
        with urllib.request.urlopen(f"{self.gateway_url}/v1/books?limit=1000", timeout=10) as answer:
            entries = json.load(answer)["entries"]
        return [entry for entry in entries if entry["reference"] == str(order.id)]


@contextmanager
def used_by_a_test(shop: RunningShop) -> Iterator[RunningShop]:
    """This process's connections go to the shop's databases, for one test."""
    gateway_url = settings.GATEWAY_URL
    settings.GATEWAY_URL = shop.gateway_url
    try:
        with connected_to(shop.names):
            yield shop
    finally:
        connections.close_all()
        settings.GATEWAY_URL = gateway_url
