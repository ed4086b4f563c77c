"""Publishing with pipelined publisher confirms: many messages in flight, each with its own answer.

`basic_publish` of py-amqp waits for every confirm by itself. Here the channel is put into confirm mode and written
to directly: a window of messages shares one round trip, and many of them one write.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

import msgspec
from amqp.exceptions import AMQPError, FrameSyntaxError
from kombu import Connection

from messaging.frames import publish_frames

log = logging.getLogger(__name__)

_Address = tuple[str, str, str]
"""Message id, exchange and routing key: two services may repeat one event, each by its own queue."""

_WRITE_SIZE = 32 * 1024
"""Bytes that are written at once: enough to share a system call, and little enough for the broker to begin early."""


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """A message ready for the broker. `tag` is the caller's name for it."""

    tag: int
    message_id: str
    correlation_id: str
    exchange: str
    routing_key: str
    headers: dict[str, Any]
    body: str


class Answers(msgspec.Struct, kw_only=True):
    """What the broker said: tags confirmed, and refused with the reason. A tag in neither is unknown."""

    confirmed: list[int]
    refused: dict[int, str]
    returned: int = 0
    """How many of the refused came back because no queue takes them."""
    failure: Exception | None = None
    """What broke the channel before all was answered; the publisher is then to be made anew."""


class Publisher:
    """One connection and channel in confirm mode. After any exception it is to be closed and made anew."""

    def __init__(self, broker_url: str, *, heartbeat: int = 30) -> None:
        self._connection = Connection(
            broker_url,
            heartbeat=heartbeat,
            connect_timeout=5,
            transport_options={"read_timeout": 10, "write_timeout": 5},
        )
        self._is_blocked = False
        self._published = 0
        self._tags: dict[int, int] = {}
        self._returned: dict[_Address, str] = {}
        self._answers = Answers(confirmed=[], refused={})
        self._addresses: dict[int, _Address] = {}
        self._channel: Any = None

    def connect(self) -> None:
        """Connect and turn confirms on; raises what the connection raises."""
        self._connection.ensure_connection(max_retries=1)
        transport = self._connection.connection
        transport.on_blocked = self._on_blocked
        transport.on_unblocked = self._on_unblocked
        channel = transport.channel()
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)
        self._channel = channel

    def is_ready(self) -> bool:
        """Whether a batch may be opened: connected, and not blocked by an alarm of the broker."""
        return self._channel is not None and self._connection.connected and not self._is_blocked

    def tend(self) -> None:
        """Read what the broker has sent meanwhile (heartbeats, alarms); raises where the connection is gone."""
        self._connection.heartbeat_check()
        self._drain(0)

    def fileno(self) -> int:
        """The connection's socket, to be waited for."""
        return int(self._connection.connection.sock.fileno())

    def publish(self, messages: Sequence[Wire], *, wait: float) -> Answers:
        """Publish all, then wait for the answers, at most `wait` seconds; what is unanswered is unknown.

        A broken connection is told in the answers, so that what was confirmed before it is not lost.
        """
        self._answers = Answers(confirmed=[], refused={})
        self._tags.clear()
        self._returned.clear()
        self._addresses.clear()
        try:
            self._publish_all(messages, wait=wait)
        except (AMQPError, OSError) as error:
            self._answers.failure = error
        return self._answers

    def _publish_all(self, messages: Sequence[Wire], *, wait: float) -> None:
        transport = self._connection.connection
        for chunk in self._chunks(messages):
            transport.transport.write(chunk)
            transport.bytes_sent += len(chunk)
        until = time.monotonic() + wait
        while self._tags and (left := until - time.monotonic()) > 0:
            self._drain(left)

    def _chunks(self, messages: Sequence[Wire]) -> Iterator[bytes]:
        """The messages as bytes; one that no frame can carry is refused, and holds up no other."""
        channel, frame_max = self._channel.channel_id, self._connection.connection.frame_max
        chunk = bytearray()
        for message in messages:
            try:
                frames = publish_frames(
                    channel=channel,
                    frame_max=frame_max,
                    exchange=message.exchange,
                    routing_key=message.routing_key,
                    headers=message.headers,
                    message_id=message.message_id,
                    correlation_id=message.correlation_id,
                    body=message.body.encode(),
                )
            except (FrameSyntaxError, UnicodeEncodeError) as error:
                self._answers.refused[message.tag] = f"it cannot be sent: {error}"
                continue
            self._published += 1
            self._tags[self._published] = message.tag
            self._addresses[self._published] = (message.message_id, message.exchange, message.routing_key)
            chunk += frames
            if len(chunk) >= _WRITE_SIZE:
                yield bytes(chunk)
                chunk.clear()
        if chunk:
            yield bytes(chunk)

    def close(self) -> None:
        """Drop the connection without waiting for the broker."""
        self._channel = None
        self._connection.collect()

    def _drain(self, timeout: float) -> None:
        try:
            self._connection.drain_events(timeout=timeout or 0.001)
        except TimeoutError:
            return

    def _settled(self, delivery_tag: int, is_multiple: bool) -> list[int]:
        if not is_multiple:
            return [delivery_tag] if delivery_tag in self._tags else []
        return list(takewhile(lambda tag: tag <= delivery_tag, self._tags))

    def _on_ack(self, delivery_tag: int, multiple: bool) -> None:
        for settled in self._settled(delivery_tag, multiple):
            tag = self._tags.pop(settled)
            returned = self._returned.get(self._addresses[settled])
            if returned is None:
                self._answers.confirmed.append(tag)
            else:
                self._answers.refused[tag] = returned
                self._answers.returned += 1

    def _on_nack(self, delivery_tag: int, multiple: bool) -> None:
        for settled in self._settled(delivery_tag, multiple):
            self._answers.refused[self._tags.pop(settled)] = (
                "the broker refused it (nack): its queue is full or down"
            )

    def _on_return(self, *returned: Any) -> None:
        error, exchange, routing_key, message = returned
        address = (message.properties.get("message_id", ""), exchange, routing_key)
        self._returned[address] = (
            f"no queue takes it: exchange {exchange!r}, routing key {routing_key!r} ({error})"
        )

    def _on_blocked(self, reason: str) -> None:
        log.warning("the broker has blocked publishing: %s", reason)
        self._is_blocked = True

    def _on_unblocked(self) -> None:
        log.info("the broker takes messages again")
        self._is_blocked = False
