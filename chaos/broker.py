"""The broker, asked and troubled from outside: by AMQP, and by the commands of its own node."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import amqp  # type: ignore[import-untyped]

from chaos.errors import ChaosError
from launcher.rabbitmq import VHOST, PrivateRabbitmq
from launcher.servers import Server

EXCHANGES = ("commands", "events")
DEAD = ".dead"
_REDELIVERED = re.compile(r"messages_redelivered_total\s*=>\s*(\d+)")
AWAY = (OSError, amqp.AMQPError)
"""What the client raises where the broker is away or ends the channel."""


@dataclass(frozen=True)
class Route:
    """A binding: messages of the exchange whose routing key fits the pattern go to the queue."""

    exchange: str
    pattern: str
    queue: str

    def takes(self, exchange: str, routing_key: str) -> bool:
        return exchange == self.exchange and _fits(self.pattern.split("."), routing_key.split("."))


def _fits(pattern: list[str], words: list[str]) -> bool:
    """Whether the words of a routing key fit those of a topic pattern."""
    if not pattern:
        return not words
    head, *rest = pattern
    if head == "#":
        return any(_fits(rest, words[taken:]) for taken in range(len(words) + 1))
    return bool(words) and head in ("*", words[0]) and _fits(rest, words[1:])


def connect(url: str, *, with_confirms: bool = False) -> Any:
    """An open connection; raises what is in `AWAY`."""
    parts = urlsplit(url)
    connection = amqp.Connection(
        host=f"{parts.hostname}:{parts.port or 5672}",
        userid=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        virtual_host=unquote(parts.path[1:]),
        connect_timeout=5,
        confirm_publish=with_confirms,
    )
    connection.connect()
    return connection


class Broker:
    """One node, with what only its own commands can tell or do. Raises ChaosError where it is not a private one."""

    def __init__(self, server: Server) -> None:
        if not isinstance(server, PrivateRabbitmq):
            raise ChaosError(f"The nemesis needs a private broker of the launcher's, not {server.url()}.")
        self.server = server
        self._redelivered = 0

    @property
    def url(self) -> str:
        return self.server.url()

    def routes(self) -> tuple[Route, ...]:
        """The bindings of the shop's queues to the exchanges that it publishes to."""
        answer = self.server.control(
            *("list_bindings", "-p", VHOST, "source_name", "destination_name", "routing_key"),
            *("--formatter", "json"),
        )
        found = (
            Route(row["source_name"], row["routing_key"], row["destination_name"]) for row in _rows(answer)
        )
        return tuple(route for route in found if route.exchange in EXCHANGES)

    def depths(self) -> dict[str, int]:
        """The messages of each queue, both those that wait and those that somebody has in hand."""
        answer = self.server.control("list_queues", "-p", VHOST, "name", "messages", "--formatter", "json")
        return {row["name"]: row["messages"] for row in _rows(answer)}

    def set_alarm(self, *, is_on: bool) -> None:
        """Let the node believe that its memory is full, so that it takes no messages; or that it is not."""
        watermark = ("absolute", "1") if is_on else ("0.6",)
        self.server.control("set_vm_memory_high_watermark", *watermark)

    def cut_connections(self) -> None:
        """Close every client's connection, whatever it is in the middle of."""
        self.server.control("close_all_connections", "-p", VHOST, "the nemesis")

    def note_redeliveries(self) -> None:
        """Add up what the node has counted since it started. To be called before it goes down, as its count ends."""
        counters = self.server.control("eval", "rabbit_global_counters:overview().")
        self._redelivered += sum(map(int, _REDELIVERED.findall(counters)))

    @property
    def redelivered(self) -> int:
        """Deliveries that the broker repeated, as far as noted."""
        return self._redelivered

    def peek(self, queue: str, *, most: int) -> list[Any]:
        """Up to so many messages that wait in a queue; they stay there."""
        found: list[Any] = []
        with connect(self.url) as connection:
            channel = connection.channel()
            channel.auto_decode = False
            while len(found) < most and (message := channel.basic_get(queue)) is not None:
                found.append(message)
        return found

    def version(self) -> str:
        with connect(self.url) as connection:
            return str(connection.server_properties.get("version", "unknown"))


def queues_of(routes: Iterable[Route]) -> tuple[str, ...]:
    """The queues that messages are routed to."""
    return tuple(sorted({route.queue for route in routes}))


def _rows(answer: str) -> list[dict[str, Any]]:
    """The rows of a command's JSON; a warning may stand before it."""
    return list(json.loads(answer[answer.index("[") :]))
