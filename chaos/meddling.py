"""Messages that come twice, late or in reverse order, made so from outside, without the product's knowledge.

`Echo` sees every first publication, by a queue of its own, and sends copies of some straight to the queues where the
originals went. `hold_back` takes messages out of a queue as any consumer might, and gives them back later in reverse
order: each is confirmed to be back in the queue before it is acknowledged, so that none is lost here.
"""

import heapq
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import amqp  # type: ignore[import-untyped]

from chaos.broker import AWAY, EXCHANGES, Route, connect

QUEUE = "chaos.echo"
LATEST = 20.0
"""Seconds after which a late copy comes, at the most."""
STACK = 8
"""So many copies are sent together, the newest first."""
LEFT_BEHIND = ("x-delivery-count", "x-acquired-count")
"""What the broker adds to a message that it has delivered before, and refuses or misreads in a new one."""
PATIENCE = 10.0


@dataclass
class Copies:
    """How many copies were sent, by how."""

    at_once: int = 0
    late: int = 0
    reversed: int = 0

    @property
    def total(self) -> int:
        return self.at_once + self.late + self.reversed


class Echo:
    """Copies of `share` of the messages, from a thread of its own, until it is stopped; it outlives the broker."""

    def __init__(self, *, url: str, routes: Sequence[Route], share: float, seed: int) -> None:
        self.copies = Copies()
        self._url = url
        self._routes = routes
        self._share = share
        self._chance = random.Random(seed)
        self._late: list[tuple[float, int, str, Any]] = []
        self._stack: list[tuple[str, Any]] = []
        self._numbered = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="echo", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Send the copies that are still to come, and end."""
        self._stop.set()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with connect(self._url) as connection:
                    self._serve(connection)
            except AWAY:
                self._stop.wait(0.5)

    def _serve(self, connection: Any) -> None:
        channel = connection.channel()
        channel.auto_decode = False
        channel.queue_declare(QUEUE, exclusive=True, auto_delete=True, arguments={"x-max-length": 100_000})
        for exchange in EXCHANGES:
            channel.queue_bind(QUEUE, exchange, "#")
        # Collected first and considered afterwards: sending reads what has come meanwhile, and would call back.
        come: list[Any] = []
        channel.basic_consume(QUEUE, no_ack=True, callback=come.append)
        while not self._stop.is_set():
            with suppress(TimeoutError):
                connection.drain_events(timeout=0.1)
            while come:
                self._consider(channel, come.pop(0))
            self._send_due(channel, until=time.monotonic())
        self._send_due(channel, until=float("inf"))
        self._send_stack(channel)

    def _consider(self, channel: Any, message: Any) -> None:
        came_by = message.delivery_info["exchange"], message.delivery_info["routing_key"]
        for route in self._routes:
            if not route.takes(*came_by) or self._chance.random() >= self._share:
                continue
            how = self._chance.random()
            if how < 0.4:
                self.copies.at_once += 1
                _send(channel, route.queue, message)
            elif how < 0.7:
                self._numbered += 1  # So that no two messages are ever compared.
                due = time.monotonic() + self._chance.uniform(0.5, LATEST)
                heapq.heappush(self._late, (due, self._numbered, route.queue, message))
            else:
                self._stack.append((route.queue, message))
                if len(self._stack) >= STACK:
                    self._send_stack(channel)

    def _send_due(self, channel: Any, *, until: float) -> None:
        while self._late and self._late[0][0] <= until:
            _, _, queue, message = self._late[0]
            _send(channel, queue, message)
            heapq.heappop(self._late)
            self.copies.late += 1

    def _send_stack(self, channel: Any) -> None:
        while self._stack:
            _send(channel, *self._stack[-1])
            self._stack.pop()
            self.copies.reversed += 1


def hold_back(url: str, queue: str, *, most: int, seconds: float, wait: Callable[[float], None]) -> int:
    """Take up to `most` messages out of a queue, keep them so long, and give them back in reverse order.

    Returns how many. Whatever breaks meanwhile, each is in the queue at least once.
    """
    held: list[Any] = []
    with connect(url, with_confirms=True) as connection:
        channel = connection.channel()
        channel.auto_decode = False
        channel.basic_qos(0, most, False)
        tag = channel.basic_consume(queue, callback=held.append)
        until = time.monotonic() + seconds
        while len(held) < most and (left := until - time.monotonic()) > 0:
            try:
                connection.drain_events(timeout=left)
            except TimeoutError:
                break
        channel.basic_cancel(tag)
        wait(max(0.0, until - time.monotonic()))
        for message in reversed(held):
            _send(channel, queue, message, confirm_timeout=PATIENCE)
            channel.basic_ack(message.delivery_tag)
    return len(held)


def _send(channel: Any, queue: str, message: Any, **options: Any) -> None:
    """Send a message as it is to one queue."""
    properties = dict(message.properties)
    headers = properties.get("application_headers", {})
    properties["application_headers"] = {
        name: value for name, value in headers.items() if name not in LEFT_BEHIND
    }
    channel.basic_publish(amqp.Message(message.body, **properties), exchange="", routing_key=queue, **options)
