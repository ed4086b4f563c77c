"""The collector: drains every `<service>.dead` into `default`, acknowledging after the commit.

It holds no letter while its database is away: then it leaves the broker, which keeps them, and comes back. A crash on
either side of the commit loses nothing, and stores nothing twice.
"""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import msgspec
from amqp.exceptions import AMQPError, NotFound
from django.db import Error, connections
from kombu import Connection
from kombu.exceptions import OperationalError

from deadletters.collecting import storing
from deadletters.collecting.failures import Failures
from deadletters.collecting.reading import Letter, Received, bare, read
from messaging import metrics, topology, vitality
from messaging.database import is_away, is_repeatable
from messaging.envelope import new_message_id, utc_now
from messaging.failpoints import failpoint
from messaging.properties import tolerate_any_properties

log = logging.getLogger(__name__)

NAME = "collector"
BATCH = 100
LARGEST_BATCH = 16 * 1024 * 1024
"""Bytes of bodies in one transaction; a letter that is larger goes alone."""
FILL_IN_EVERY = 5.0
"""Seconds between looks for failures that could not be asked for."""
DATABASE = "default"
_REPETITIONS = 20


class _Arrived(msgspec.Struct, frozen=True, eq=False):
    tag: int
    received: Received


class DatabaseAway(Exception):
    """`default` cannot be written now."""


class Collector:
    """Collects until `stop` is set. Several may run; each letter is then stored by whoever the broker gives it to."""

    def __init__(self, *, broker_url: str, stop: threading.Event) -> None:
        self._broker_url = broker_url
        self._stop = stop
        self._waiting: deque[_Arrived] = deque()
        self._failures = Failures()
        self._next_look = 0.0

    def run(self) -> None:
        """Collect until stopped; a database or a broker that is away is waited for, for ever.

        Raises `TopologyError` where a dead-letter queue has not been declared.
        """
        tolerate_any_properties()
        with vitality.main_loop(NAME):
            vitality.waits(NAME, "it does not consume yet")
            self._run()

    def _run(self) -> None:
        pause = 0.1
        while not self._stop.is_set():
            self._wait_for_database()
            if self._stop.is_set():
                break
            connection = Connection(
                self._broker_url, heartbeat=30, connect_timeout=5, transport_options={"write_timeout": 5}
            )
            try:
                # One try for each node of a cluster.
                connection.ensure_connection(max_retries=self._broker_url.count(";") + 1)
                self._collect(connection, on_ready=self._say_ready)
                pause = 0.1
            except (OSError, AMQPError, OperationalError) as error:
                vitality.waits(NAME, f"the broker is away ({type(error).__name__})")
                log.warning("collector: the broker is away, waiting: %s: %s", type(error).__name__, error)
                self._stop.wait(pause)
                pause = min(1.0, pause * 2)
            except DatabaseAway as error:
                log.warning("collector: the database is away, the broker keeps the letters: %s", error)
            finally:
                # Without a farewell: what is not acknowledged is delivered again.
                connection.collect()

    @staticmethod
    def _say_ready() -> None:
        vitality.waits(NAME, None)
        log.info("collector: draining the dead letters of %s", ", ".join(topology.services()))

    def _wait_for_database(self) -> None:
        pause, is_said = 0.1, False
        while not self._stop.is_set():
            vitality.turned()
            try:
                with connections[DATABASE].cursor() as cursor:
                    cursor.execute("SELECT 1")
                return
            except Error as error:
                vitality.waits(NAME, "its database is away")
                if not is_said:
                    log.warning("collector: waiting for the database: %s", str(error).strip())
                is_said = True
                connections[DATABASE].close()
                self._stop.wait(pause)
                pause = min(2.0, pause * 2)

    def _collect(self, connection: Connection, *, on_ready: Callable[[], None]) -> None:
        self._waiting.clear()
        channel = connection.connection.channel()
        channel.auto_decode = False
        channel.basic_qos(0, BATCH, False)
        for service in topology.services():
            self._consume(channel, service)
        on_ready()
        while not self._stop.is_set():
            vitality.turned()
            connection.heartbeat_check()
            if not self._waiting:
                _drain(connection, timeout=1)
            while len(self._waiting) < BATCH and _drain(connection, timeout=0.001):
                continue
            batch = self._next_batch()
            if batch:
                self._store([arrived.received for arrived in batch])
                failpoint("collector.committed")
                # Tags count over all queues of the channel, and batches take letters in the order of their tags.
                channel.basic_ack(batch[-1].tag, multiple=True)
                for service, count in Counter(arrived.received.service for arrived in batch).items():
                    metrics.dead_letters_collected(service, count)
            self._fill_in()

    def _consume(self, channel: Any, service: str) -> None:
        name = topology.dead_queue_of(service).name

        def receive(message: Any) -> None:
            body = message.body
            received = Received(
                service=service,
                properties=message.properties,
                body=body.encode() if isinstance(body, str) else bytes(body),
            )
            self._waiting.append(_Arrived(message.delivery_info["delivery_tag"], received))

        try:
            channel.basic_consume(name, callback=receive)
        except NotFound as error:
            raise topology.TopologyError(
                f"The broker has no queue {name!r}. Run `manage.py declare_topology` first."
            ) from error

    def _next_batch(self) -> list[_Arrived]:
        batch: list[_Arrived] = []
        size = 0
        while self._waiting and len(batch) < BATCH:
            size += len(self._waiting[0].received.body)
            if batch and size > LARGEST_BATCH:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _store(self, batch: list[Received]) -> None:
        """Afterwards every letter is stored. Raises `DatabaseAway`."""
        letters = [_read(received) for received in batch]
        if len(letters) > 1:
            try:
                self._until_answered(letters)
                return
            except DatabaseAway:
                raise
            except Exception as error:  # one of them is bad, and taking them one by one shows which
                log.warning(
                    "collector: a batch of %d failed, storing its letters singly: %s", len(batch), error
                )
        for received, letter in zip(batch, letters, strict=True):
            try:
                self._until_answered([letter])
            except DatabaseAway:
                raise
            except Exception as error:  # whatever is wrong with it, its bytes are kept
                log.error("collector: a letter of %s is stored as bytes only: %s", received.service, error)
                only_bytes = bare(received, letter_id=letter.id, now=utc_now(), why=str(error))
                self._until_answered([only_bytes])

    def _until_answered(self, letters: list[Letter]) -> None:
        repetitions = 0
        while True:
            try:
                storing.store(letters, failures=self._failures)
                return
            except Error as error:
                if is_away(error, database=DATABASE):
                    connections[DATABASE].close()
                    raise DatabaseAway(str(error).strip()) from error
                if not is_repeatable(error) or repetitions >= _REPETITIONS:
                    raise
                repetitions += 1

    def _fill_in(self) -> None:
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + FILL_IN_EVERY
        try:
            storing.fill_in(failures=self._failures)
        except Error as error:
            if is_away(error, database=DATABASE):
                connections[DATABASE].close()
                raise DatabaseAway(str(error).strip()) from error
            log.warning("collector: failures could not be filled in, trying again: %s", str(error).strip())


def _read(received: Received) -> Letter:
    letter_id, now = new_message_id(), utc_now()
    try:
        return read(received, letter_id=letter_id, now=now)
    except Exception as error:  # any bytes may come, and none of them may end the collector
        log.error("collector: a letter of %s cannot be read: %s", received.service, error)
        return bare(received, letter_id=letter_id, now=now, why=f"{type(error).__name__}: {error}")


def _drain(connection: Connection, *, timeout: float) -> bool:
    """Read what the broker has sent; False where it has sent nothing in that time."""
    try:
        connection.drain_events(timeout=timeout)
    except TimeoutError:
        return False
    return True
