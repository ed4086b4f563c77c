"""The orchestrator: a consumer of the sagas' queue that handles messages in batches.

Several may run. A batch is acknowledged after its transaction has been committed; one that fails is rolled back
and its members are handled one by one, so that a bad message fails alone.
"""

import logging
import threading
import time
from collections import deque
from typing import Any

import msgspec
from amqp.exceptions import AMQPError
from django.conf import settings
from django.db import Error
from kombu import Connection
from kombu import Consumer as KombuConsumer
from kombu.exceptions import OperationalError

from messaging import metrics, topology, vitality
from messaging.database import is_away, is_repeatable, wait_until_back
from messaging.delivery import Delivery, open_message
from messaging.errors import InvalidMessage
from messaging.metrics import Outcome
from messaging.observing import observing, observing_batch
from messaging.settlement import Rejected, is_settled, reject_unreadable, settle_failure
from sagas.batch import Incoming, handle_batch
from sagas.handlers import MESSAGE_TYPES, SERVICE
from sagas.records import DATABASE

log = logging.getLogger(__name__)


class _Received(msgspec.Struct, frozen=True, eq=False):
    message: Any
    delivery: Delivery


class Orchestrator:
    """Consumes until `stop` is set."""

    def __init__(self, *, broker_url: str, batch_size: int, stop: threading.Event) -> None:
        self._broker_url = broker_url
        self._batch_size = batch_size
        self._stop = stop
        self._waiting: deque[_Received] = deque()

    def run(self) -> None:
        """Consume until stopped; a broker that is away is waited for."""
        with vitality.main_loop(SERVICE):
            vitality.waits(SERVICE, "it does not consume yet")
            self._run()

    def _run(self) -> None:
        pause = 0.1
        while not self._stop.is_set():
            vitality.turned()
            connection = Connection(self._broker_url, heartbeat=30, connect_timeout=5)
            try:
                connection.ensure_connection(max_retries=1)
                topology.verify(connection, SERVICE)
                log.info("orchestrator: consuming %s", SERVICE)
                pause = 0.1
                self._consume(connection)
            except (OSError, AMQPError, OperationalError) as error:
                # What was delivered on the lost connection is delivered again.
                self._waiting.clear()
                vitality.waits(SERVICE, f"the broker is away ({type(error).__name__})")
                log.warning("orchestrator: the broker is away, waiting: %s: %s", type(error).__name__, error)
                self._stop.wait(pause)
                pause = min(1.0, pause * 2)
            finally:
                # Without a farewell: a node that hangs would not answer it.
                connection.collect()

    def _consume(self, connection: Connection) -> None:
        self._waiting.clear()
        queue = topology.queue_of(SERVICE)
        queue.no_declare = True
        consumer = KombuConsumer(
            connection,
            queues=[queue],
            on_message=self._receive,
            on_decode_error=_reject_undecodable,
            prefetch_count=2 * self._batch_size,
            accept=["json"],
        )
        with consumer:
            vitality.waits(SERVICE, None)
            while not self._stop.is_set():
                vitality.turned()
                connection.heartbeat_check()
                if not self._waiting:
                    self._drain(connection, timeout=1)
                while len(self._waiting) < self._batch_size and self._drain(connection, timeout=0.001):
                    continue
                batch = [self._waiting.popleft() for _ in range(min(self._batch_size, len(self._waiting)))]
                if batch:
                    self._handle(batch)

    @staticmethod
    def _drain(connection: Connection, *, timeout: float) -> bool:
        """Read what the broker has sent; False where it has sent nothing in that time."""
        try:
            connection.drain_events(timeout=timeout)
        except TimeoutError:
            return False
        return True

    def _receive(self, message: Any) -> None:
        try:
            payload = message.payload[0][0]
        except Exception as error:  # any bytes may come: what cannot be decoded is the broker's to move
            log.error("orchestrator: rejected a message whose body cannot be read: %s", error)
            message.reject(requeue=False)
            return
        info = message.delivery_info
        delivery = Delivery(
            headers=message.headers,
            payload=payload,
            exchange=info.get("exchange") or "",
            routing_key=info.get("routing_key") or "",
            is_redelivered=bool(info.get("redelivered")),
        )
        if delivery.is_redelivered:
            metrics.message_redelivered(SERVICE)
        self._waiting.append(_Received(message, delivery))

    def _handle(self, batch: list[_Received]) -> None:
        opened: list[tuple[_Received, Incoming]] = []
        for received in batch:
            try:
                incoming = Incoming(*open_message(received.delivery, handled=MESSAGE_TYPES))
                if received.delivery.is_redelivered and _is_settled(incoming):
                    received.message.ack()
                    continue
                opened.append((received, incoming))
            except InvalidMessage as error:
                self._reject(received, error)
            except Rejected:
                received.message.reject(requeue=False)
        if not opened:
            return
        if len(opened) > 1:
            begun = time.monotonic()
            try:
                with observing_batch([received.delivery for received, _ in opened], service=SERVICE):
                    _until_answered([incoming for _, incoming in opened])
            except Exception as error:  # one of them is bad, and handling them one by one shows which
                log.warning(
                    "orchestrator: a batch of %d failed, taking its messages singly: %s", len(opened), error
                )
                metrics.batch_failed()
            else:
                for received, _ in opened:
                    received.message.ack()
                _count_batch([incoming for _, incoming in opened], seconds=time.monotonic() - begun)
                return
        for received, incoming in opened:
            begun = time.monotonic()
            with observing(received.delivery, service=SERVICE):
                outcome = self._handle_one(received, incoming)
            seconds = time.monotonic() - begun
            metrics.message_handled(SERVICE, incoming.envelope.type, outcome, seconds)
            if outcome is Outcome.HANDLED:
                metrics.batch_decided(1, seconds=seconds)
            else:
                metrics.attempt_failed(SERVICE, incoming.envelope.type, is_final=outcome is Outcome.REJECTED)

    def _handle_one(self, received: _Received, incoming: Incoming) -> Outcome:
        outcome = Outcome.HANDLED
        while True:
            try:
                _until_answered([incoming])
                break
            except Exception as error:  # whatever it is, it is recorded and repeated, never dropped
                try:
                    if settle_failure(
                        error, envelope=incoming.envelope, delivery=received.delivery, service=SERVICE
                    ):
                        outcome = Outcome.PUT_BACK
                        break
                except Rejected:
                    received.message.reject(requeue=False)
                    return Outcome.REJECTED
        received.message.ack()
        return outcome

    def _reject(self, received: _Received, error: InvalidMessage) -> None:
        try:
            reject_unreadable(error, delivery=received.delivery, service=SERVICE)
        except Rejected:
            received.message.reject(requeue=False)


def _reject_undecodable(message: Any, error: BaseException) -> None:
    log.error("orchestrator: rejected a message that cannot be decoded: %s", error)
    message.reject(requeue=False)


def _count_batch(batch: list[Incoming], *, seconds: float) -> None:
    metrics.batch_decided(len(batch), seconds=seconds)
    for incoming in batch:
        metrics.message_handled(SERVICE, incoming.envelope.type, Outcome.HANDLED, seconds / len(batch))


def _until_answered(batch: list[Incoming]) -> None:
    """Handle the batch; a database that is away is waited for, a deadlock or serialization failure repeated."""
    repetitions = 0
    while True:
        try:
            handle_batch(batch)
            return
        except Error as error:
            if is_away(error, database=DATABASE):
                wait_until_back(DATABASE)
            elif not is_repeatable(error) or repetitions >= settings.RETRY_ATTEMPTS:
                raise
            else:
                repetitions += 1


def _is_settled(incoming: Incoming) -> bool:
    """Whether this attempt has failed and been recorded; a database that is away is waited for."""
    while True:
        try:
            return is_settled(incoming.envelope, service=SERVICE)
        except Error as error:
            if not is_away(error, database=DATABASE):
                raise
            wait_until_back(DATABASE)
