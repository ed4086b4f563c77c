"""The limit: py-amqp publishes messages that are ready in memory, no more than WINDOW unconfirmed at any time.

Reads one line of JSON for each order on standard input, `{"messages": [...], "rounds": n}`, and answers each with
the seconds that it took until the last confirm.
"""

import json
import os
import sys
import time
from typing import Any
from urllib.parse import unquote, urlsplit

import amqp


class Publisher:
    """A channel in confirm mode with a sliding window."""

    def __init__(self, connection: amqp.Connection, *, window: int) -> None:
        self._connection = connection
        self._window = window
        self._published = 0
        self._unconfirmed: set[int] = set()
        self._channel = connection.channel()
        self._channel.confirm_select()
        self._channel.events["basic_ack"].add(self._settle)

    def publish(self, messages: list[dict[str, Any]], *, rounds: int) -> float:
        """Publish all of them so many times; returns the seconds until the last is confirmed."""
        began = time.perf_counter()
        for _ in range(rounds):
            for message in messages:
                self._published += 1
                self._unconfirmed.add(self._published)
                self._channel._basic_publish(
                    amqp.Message(
                        message["body"],
                        message_id=message["message_id"],
                        correlation_id=message["correlation_id"],
                        content_type="application/json",
                        content_encoding="utf-8",
                        delivery_mode=2,
                        application_headers=message["headers"],
                    ),
                    exchange=message["exchange"],
                    routing_key=message["routing_key"],
                    mandatory=True,
                )
                while len(self._unconfirmed) >= self._window:
                    self._connection.drain_events(timeout=30)
        while self._unconfirmed:
            self._connection.drain_events(timeout=30)
        return time.perf_counter() - began

    def _settle(self, delivery_tag: int, multiple: bool) -> None:
        if multiple:
            self._unconfirmed = {tag for tag in self._unconfirmed if tag > delivery_tag}
        else:
            self._unconfirmed.discard(delivery_tag)


def main() -> None:
    url = urlsplit(os.environ["BROKER_URL"])
    connection = amqp.Connection(
        host=f"{url.hostname}:{url.port}",
        userid=unquote(url.username or ""),
        password=unquote(url.password or ""),
        virtual_host=url.path.removeprefix("/"),
    )
    connection.connect()
    publisher = Publisher(connection, window=int(os.environ["WINDOW"]))
    for line in sys.stdin:
        order = json.loads(line)
        seconds = publisher.publish(order["messages"], rounds=order["rounds"])
        sys.stdout.write(json.dumps({"seconds": seconds}) + "\n")
        sys.stdout.flush()
    connection.close()


if __name__ == "__main__":
    main()
