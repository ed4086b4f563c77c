"""The orchestrator: a consumer of the sagas' queue that handles messages in batches.

Several may run. A batch is acknowledged after its transaction has been committed; one that fails is rolled back
and its members are handled one by one, so that a bad message fails alone. How a message that ends the process dies
alone is told in `sagas/intake.py`.
"""

import logging
import threading
import time

from amqp.exceptions import AMQPError
from django.db import DataError, Error
from kombu import Connection
from kombu.exceptions import OperationalError

from messaging import metrics, topology, vitality
from messaging.database import is_away, is_repeatable, wait_until_back
from messaging.delivery import open_message
from messaging.errors import InvalidMessage
from messaging.failpoints import failpoint
from messaging.metrics import Outcome
from messaging.observing import observing, observing_batch
from messaging.policies import RetryPolicy
from messaging.properties import tolerate_any_properties
from messaging.settlement import Rejected, is_settled, reject_unreadable, settle_failure
from sagas.batch import Incoming, handle_batch
from sagas.errors import UnreadableDelivery
from sagas.handlers import MESSAGE_TYPES, SERVICE
from sagas.intake import Intake, Received
from sagas.records import DATABASE

log = logging.getLogger(__name__)


class Orchestrator:
    """Consumes until `stop` is set."""

    def __init__(self, *, broker_url: str, batch_size: int, stop: threading.Event) -> None:
        self._broker_url = broker_url
        self._batch_size = batch_size
        self._stop = stop

    def run(self) -> None:
        """Consume until stopped; a broker that is away is waited for."""
        tolerate_any_properties()
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
            except (OSError, AMQPError, OperationalError, UnreadableDelivery) as error:
                # What was delivered here is delivered again; what cannot be read, until the broker moves it.
                vitality.waits(SERVICE, f"it has no connection to the broker ({type(error).__name__})")
                log.warning("orchestrator: connecting anew after %s: %s", type(error).__name__, error)
                self._stop.wait(pause)
                pause = min(1.0, pause * 2)
            finally:
                # Without a farewell: a node that hangs would not answer it.
                connection.collect()

    def _consume(self, connection: Connection) -> None:
        queue = topology.queue_of(SERVICE)
        queue.no_declare = True
        intake = Intake(connection, queue, batch_size=self._batch_size)
        vitality.waits(SERVICE, None)
        while not self._stop.is_set():
            vitality.turned()
            connection.heartbeat_check()
            batch = intake.next_batch()
            if batch:
                self._handle(batch)

    def _handle(self, batch: list[Received]) -> None:
        opened: list[tuple[Received, Incoming]] = []
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
        failpoint("orchestrator.received")
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
                failpoint("orchestrator.committed")
                for received, _ in opened:
                    received.message.ack()
                _count_batch([incoming for _, incoming in opened], seconds=time.monotonic() - begun)
                return
        for received, incoming in opened:
            begun = time.monotonic()
            with observing(received.delivery, service=SERVICE):
                outcome = self._handle_one(received, incoming)
            _count_one(incoming, outcome, seconds=time.monotonic() - begun)

    def _handle_one(self, received: Received, incoming: Incoming) -> Outcome:
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
                        outcome = Outcome.FAILED
                        break
                except Rejected:
                    received.message.reject(requeue=False)
                    return Outcome.REJECTED
        failpoint("orchestrator.committed")
        received.message.ack()
        return outcome

    def _reject(self, received: Received, error: InvalidMessage) -> None:
        try:
            reject_unreadable(error, delivery=received.delivery, service=SERVICE)
        except Rejected:
            received.message.reject(requeue=False)


def _count_batch(batch: list[Incoming], *, seconds: float) -> None:
    metrics.batch_decided(len(batch), seconds=seconds)
    for incoming in batch:
        metrics.message_handled(SERVICE, incoming.envelope.type, Outcome.HANDLED, seconds / len(batch))


def _count_one(incoming: Incoming, outcome: Outcome, *, seconds: float) -> None:
    metrics.message_handled(SERVICE, incoming.envelope.type, outcome, seconds)
    if outcome is Outcome.HANDLED:
        metrics.batch_decided(1, seconds=seconds)
    else:
        metrics.attempt_failed(SERVICE, incoming.envelope.type, is_final=outcome is Outcome.REJECTED)


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
            elif not is_repeatable(error) or repetitions >= RetryPolicy().attempts:
                raise
            else:
                repetitions += 1


def _is_settled(incoming: Incoming) -> bool:
    """Whether this attempt has failed and been recorded; a database that is away is waited for."""
    while True:
        try:
            return is_settled(incoming.envelope, service=SERVICE)
        except DataError:
            # Its attempt is no number that a column takes, so none is recorded; handling it will say so.
            return False
        except Error as error:
            if not is_away(error, database=DATABASE):
                raise
            wait_until_back(DATABASE)
