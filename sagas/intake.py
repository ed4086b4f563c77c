"""What the orchestrator has been handed and not handled yet, taken in so that a poison message dies alone.

The broker counts a delivery for every message that a dying process holds, also for those that did it no harm, and
after `DELIVERY_LIMIT` of them a message is a dead letter. So the intake begins with one message at a time, as it
has to after a death, and opens once that was a message that nobody had before: a quorum queue hands out first what
came back, so all of that is through by then. When it is open and a message arrives that was delivered before,
another orchestrator may have died of it: the intake is shut, its neighbours are handled first, then it alone.
"""

import logging
from collections import deque
from typing import Any

import msgspec
from amqp.exceptions import AMQPError
from kombu import Connection, Queue
from kombu import Consumer as KombuConsumer

from messaging import metrics
from messaging.delivery import Delivery
from sagas.errors import UnreadableDelivery
from sagas.handlers import SERVICE

log = logging.getLogger(__name__)


class Received(msgspec.Struct, frozen=True, eq=False):
    """A message that is to be acknowledged or rejected."""

    message: Any
    delivery: Delivery


class Intake:
    """The deliveries of one queue over one connection, as batches."""

    def __init__(self, connection: Connection, queue: Queue, *, batch_size: int) -> None:
        self._connection = connection
        self._batch_size = batch_size
        self._waiting: deque[Received] = deque()
        self._consumer = KombuConsumer(
            connection,
            queues=[queue],
            on_message=self._receive,
            on_decode_error=_reject_undecodable,
            accept=["json"],
        )
        self._prefetch = 0
        self._wanted_prefetch = 1

    def next_batch(self) -> list[Received]:
        """Messages to be handled together, after those of the call before; none where none came for a second.

        A message that was delivered before comes alone. Raises what a lost connection or closed channel raises, and
        `UnreadableDelivery`; the broker then delivers again whatever is not acknowledged.
        """
        if not self._waiting and self._prefetch != self._wanted_prefetch:
            self._take(self._wanted_prefetch)
        if not self._waiting:
            self._drain(timeout=1)
        while len(self._waiting) < min(self._batch_size, self._prefetch) and self._drain(timeout=0.001):
            continue
        fresh = [received for received in self._waiting if not received.delivery.was_delivered_before]
        if len(fresh) < len(self._waiting):
            self._shut()
        elif fresh:
            self._wanted_prefetch = 2 * self._batch_size
        batch = fresh[: self._batch_size] or list(self._waiting)[:1]
        for received in batch:
            self._waiting.remove(received)
        return batch

    def _take(self, prefetch: int) -> None:
        """A quorum queue goes by the prefetch that a consumer began with: it is cancelled and begins again."""
        self._consumer.cancel()
        self._consumer.qos(prefetch_count=prefetch)
        self._consumer.consume()
        self._prefetch = prefetch

    def _shut(self) -> None:
        if self._prefetch > 1:
            self._consumer.cancel()
            self._prefetch = 0
        self._wanted_prefetch = 1

    def _drain(self, *, timeout: float) -> bool:
        """Read what the broker has sent; False where it has sent nothing in that time."""
        try:
            self._connection.drain_events(timeout=timeout)
        except TimeoutError:
            return False
        except (AMQPError, OSError):
            raise
        except Exception as error:  # any bytes may come, also where the client library looks for text
            raise UnreadableDelivery(f"{type(error).__name__}: {error}") from error
        return True

    def _receive(self, message: Any) -> None:
        try:
            payload = message.payload[0][0]
        except Exception as error:  # any bytes may come: what cannot be decoded is the broker's to move
            log.error("orchestrator: rejected a message whose body cannot be read: %s", error)
            message.reject(requeue=False)
            return
        info = message.delivery_info
        count = message.headers.get("x-delivery-count")
        delivery = Delivery(
            headers=message.headers,
            payload=payload,
            exchange=info.get("exchange") or "",
            routing_key=info.get("routing_key") or "",
            is_redelivered=bool(info.get("redelivered")),
            delivery_count=count if isinstance(count, int) else 0,
        )
        if delivery.was_delivered_before:
            metrics.message_redelivered(SERVICE)
        self._waiting.append(Received(message, delivery))


def _reject_undecodable(message: Any, error: BaseException) -> None:
    log.error("orchestrator: rejected a message that cannot be decoded: %s", error)
    message.reject(requeue=False)
