"""How a worker's main process hands messages to its children: at once as many as wait and may share a transaction.

A message goes to the first child that is free. What has arrived while all were busy goes to the next one together, so
that nothing waits for a batch to fill and batches grow with the load. A message that was delivered before is handled
alone, since it may be what ended its last consumer; so are all of a bundle whose child was lost.
"""

import logging
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import Celery
from celery.app.task import Task
from celery.worker import state
from celery.worker.consumer import Consumer
from celery.worker.request import Request

from eventstore.admin_privacy import private_values
from eventstore.private_text import scrubbed
from messaging import metrics
from messaging.batching import Settled, consume_all
from messaging.delivery import Delivery
from messaging.envelope import Envelope
from messaging.metrics import Outcome

log = logging.getLogger(__name__)

LARGEST_BUNDLE = 16
"""So many messages whose transactions are their own may go to a child at once: it saves the way there and back."""
LONGEST_BUNDLE = 1500.0
"""Seconds; RabbitMQ closes the channel of a consumer that has not answered for half an hour."""
LOOK_AGAIN_AFTER = 0.5
"""Seconds after which what still waits is looked at without being woken."""

_ENVELOPE = frozenset(Envelope.__struct_fields__)


def strategy(task: Task, app: Celery, consumer: Consumer, **_: Any) -> Callable[..., None]:
    """Celery's hook for what is done with a message of this task, in place of Celery's own way."""
    dispatcher: Dispatcher = consumer.dispatcher

    def receive(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any) -> None:
        request = MessageRequest(
            message,
            on_ack=ack,
            on_reject=reject,
            app=app,
            hostname=consumer.hostname,
            eventer=consumer.event_dispatcher,
            task=task,
            connection_errors=consumer.connection_errors,
            body=message.payload,
            headers=message.headers,
            decoded=True,
        )
        request.delivery = delivery_of(message)
        request.send_event("task-received", name=request.name, args="", kwargs="", root_id=request.root_id)
        if request.delivery.was_delivered_before:
            metrics.message_redelivered(task.service)
        state.task_reserved(request)
        dispatcher.take(request)

    return receive


def delivery_of(message: Any) -> Delivery:
    """What a handler's side needs of a screened message."""
    info = message.delivery_info
    headers = message.headers
    count = headers.get("x-delivery-count")
    return Delivery(
        headers={name: value for name, value in headers.items() if name in _ENVELOPE},
        payload=message.payload[0][0],
        exchange=info.get("exchange") or "",
        routing_key=info.get("routing_key") or "",
        is_redelivered=bool(info.get("redelivered")),
        delivery_count=count if isinstance(count, int) else 0,
    )


class MessageRequest(Request):  # type: ignore[misc]  # Celery carries no types
    """A message in the worker's hands; Celery's bookkeeping of what is active is kept."""

    delivery: Delivery
    is_alone = False

    @property
    def batch(self) -> int:
        """With how many messages it may share a transaction."""
        return 1 if self._is_suspect else int(self.task.batch)

    @property
    def may_be_bundled(self) -> bool:
        """Whether it may go to a child together with others, though each has its own transaction."""
        return bool(self.task.is_quick) and not self._is_suspect

    @property
    def _is_suspect(self) -> bool:
        return self.is_alone or self.delivery.was_delivered_before

    def cancel(self, pool: Any, signal: Any = None, emit_retry: bool = False) -> None:
        """End its child, because the connection was lost and the message comes again.

        Celery would have its result backend note a retry: from this process, in a database that may be away.
        """
        super().cancel(pool, signal, emit_retry=False)

    def _announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        """Give it back to the queue when its child was ended on somebody's command, such as Flower's button.

        Celery would acknowledge it here, and so lose it.
        """
        log.warning("%s %s: its child was ended (%s); the message is tried again", self.name, self.id, reason)
        state.task_ready(self)
        self._already_revoked = True
        self.reject(requeue=True)

    def settle(self, settled: Settled) -> None:
        """Acknowledge it, or have the broker move it to the dead letters."""
        metrics.message_handled(self.task.service, self.name, settled.outcome, settled.seconds)
        if settled.outcome in (Outcome.FAILED, Outcome.REJECTED):
            is_final = settled.outcome is Outcome.REJECTED
            metrics.attempt_failed(self.task.service, self.name, is_final=is_final)
        if settled.outcome is not Outcome.REJECTED:
            self.on_success((False, settled.outcome, settled.seconds))
            return
        state.task_ready(self)
        self.reject(requeue=False)
        # Whoever looks at Flower need not be one to read of customers.
        told = scrubbed(settled.reason, known=private_values(self.delivery.payload))
        self.send_event("task-failed", exception=told, traceback="")


class Dispatcher:
    """The messages that wait for a child, oldest first."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._waiting: deque[MessageRequest] = deque()
        self._is_due = False
        self._is_looking_again = False

    def take(self, request: MessageRequest) -> None:
        """Let the message wait for a free child."""
        self._waiting.append(request)
        self.wake()

    def take_alone(self, requests: Sequence[MessageRequest]) -> None:
        """Let these messages, whose child was lost, be tried again before any other, each by itself."""
        for request in reversed(requests):
            request.is_alone = True
            state.active_requests.discard(request)
            self._waiting.appendleft(request)
        self.wake()

    def forget(self) -> None:
        """The connection is lost: what waits is delivered again.

        What the event loop was to do soon may have been lost with it, so nothing counts as due any more: the worker
        would be deaf for ever.
        """
        self._waiting.clear()
        self._is_due = False
        self._is_looking_again = False

    def wake(self) -> None:
        """Look at what waits when this turn of the event loop has read all that has come."""
        if not self._is_due:
            self._is_due = True
            self._consumer.hub.call_soon(self._hand_out)

    def _hand_out(self) -> None:
        self._is_due = False
        while self._waiting and self._consumer.controller.semaphore.value > 0:
            self._consumer.on_task_request(Bundle(self, self._next_bundle()))
        if self._waiting and not self._is_looking_again:
            # The place of a child that was killed is free some time after its messages were told to be lost, and nobody
            # says so: where all children died at once, the worker would be deaf for ever.
            self._is_looking_again = True
            self._consumer.hub.call_later(LOOK_AGAIN_AFTER, self._look_again)

    def _look_again(self) -> None:
        self._is_looking_again = False
        self._hand_out()

    def _next_bundle(self) -> list[MessageRequest]:
        first = self._waiting[0]
        if first.batch > 1:
            return self._gather(lambda request: request.batch)
        if first.may_be_bundled:
            fair = -(-len(self._waiting) // self._consumer.controller.semaphore.value)
            room = max(1, min(fair, LARGEST_BUNDLE))
            return self._gather(lambda request: room if request.batch == 1 and request.may_be_bundled else 0)
        return [self._waiting.popleft()]

    def _gather(self, room_of: Callable[[MessageRequest], int]) -> list[MessageRequest]:
        """The oldest of those that have room for others, until the smallest of these rooms is full."""
        bundle: list[MessageRequest] = []
        passed_over: list[MessageRequest] = []
        room = room_of(self._waiting[0])
        while self._waiting and len(bundle) < room:
            request = self._waiting.popleft()
            own = room_of(request)
            if own <= len(bundle):
                passed_over.append(request)
                continue
            bundle.append(request)
            room = min(room, own)
        self._waiting.extendleft(reversed(passed_over))
        return bundle


def _time_limit(task: Task, *, messages: int) -> float | None:
    """Seconds for a bundle: as many as its messages may take one by one, within the broker's patience."""
    if task.time_limit is None:
        return None
    return float(min(task.time_limit * messages, max(task.time_limit, LONGEST_BUNDLE)))


class Bundle:
    """The messages that one child is given at once. For Celery's pool it is one request."""

    def __init__(self, dispatcher: Dispatcher, requests: Sequence[MessageRequest]) -> None:
        self._dispatcher = dispatcher
        self._requests = requests

    def execute_using_pool(self, pool: Any, **_: Any) -> None:
        """Give the messages to a child of the pool."""
        task = self._requests[0].task
        result = pool.apply_async(
            consume_all,
            args=(task.service, [request.delivery for request in self._requests]),
            accept_callback=self._on_accepted,
            callback=self._on_settled,
            error_callback=self._on_lost,
            timeout=_time_limit(task, messages=len(self._requests)),
        )
        for request in self._requests:
            request._apply_result = None if result is None else weakref.ref(result)

    def _on_accepted(self, pid: int, time_accepted: float) -> None:
        for request in self._requests:
            request.on_accepted(pid, time_accepted)

    def _on_settled(self, outcomes: Sequence[Settled]) -> None:
        for request, settled in zip(self._requests, outcomes, strict=True):
            request.settle(settled)
        self._dispatcher.wake()

    def _on_lost(self, lost: ExceptionInfo) -> None:
        """The child has ended, or was ended for its time limit: nobody knows what it had committed, and keys tell."""
        requests = [
            request
            for request in self._requests
            if not (request._already_cancelled or request._already_revoked)
        ]
        if len(requests) > 1:
            log.error(
                "a child was lost with %d messages (%s): trying each alone", len(requests), lost.exception
            )
            self._dispatcher.take_alone(requests)
            return
        for request in requests:
            metrics.message_handled(request.task.service, request.name, Outcome.LOST, 0.0)
            request.on_failure(lost)
        self._dispatcher.wake()
