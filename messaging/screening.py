"""What a worker lets in: messages that Celery can handle. Every other one is the broker's to move, never lost.

A stock worker acknowledges, and so loses, what it cannot decode; other malformed messages end it, and their
neighbours with it. Here both become dead letters, as they came.

A worker that dies takes what it has in hand along: the broker counts a delivery for each, and after some moves it to
the dead letters. So a worker starts slowly, with one message at a time, until it gets one that nobody had before.
Whatever ended its predecessor comes first, and meets no neighbours.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
from amqp.exceptions import RecoverableConnectionError
from celery.app.task import Task
from celery.worker.consumer import Consumer

from messaging.dispatching import LARGEST_BUNDLE, Dispatcher
from messaging.errors import InvalidMessage

log = logging.getLogger(__name__)

_JSON = "application/json"
_TEXTS = ("id", "task")
_NEVER_SENT = ("compression", "eta", "expires", "timelimit", "shadow")
"""Headers that would let Celery unpack, hold back, drop, cut short or rename a message: the outbox never does."""
_CELERYS_OWN = "celery."
"""Celery registers some tasks of its own, which nobody may ask for here."""
_UNLIMITED = [None, None]
"""What Celery itself writes as `timelimit` where there is none."""
_DEEPEST = 100
"""Levels of arrays and objects within each other; what is much deeper cannot be passed on to a child."""
EVENTS_GATHERED_FOR = 0.2
"""Seconds that task events wait for others, or until there are 24."""
LONGEST_RECONNECT_PAUSE = 2.0
"""Seconds between two tries to reach a broker that is away."""
BUNDLES_IN_HAND = 2
"""How many bundles for each child the worker keeps in hand, so that no child waits for the broker."""


def screened(message: Any, *, tasks: Mapping[str, Task]) -> Any:
    """The decoded body of a message that may be tried; raises `InvalidMessage` saying what makes that impossible."""
    if message.content_type != _JSON:
        raise InvalidMessage(f"Its content type is {message.content_type!r}, not {_JSON}.")
    headers = message.headers
    for name in _TEXTS:
        if not isinstance(headers.get(name), str):
            raise InvalidMessage(f"Its header {name!r} is {headers.get(name)!r}, not a text.")
    if headers["task"] not in tasks or headers["task"].startswith(_CELERYS_OWN):
        raise InvalidMessage(f"This service has no handler for {headers['task']!r}.")
    for name in _NEVER_SENT:
        if headers.get(name) not in (None, _UNLIMITED):
            raise InvalidMessage(f"It has a header {name!r}, which no message here has.")
    try:
        body = msgspec.json.decode(message.body)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise InvalidMessage(f"Its body is not JSON: {error}.") from error
    if _is_too_deep(body, headers):
        raise InvalidMessage(f"Its body or its headers have more than {_DEEPEST} levels.")
    if not isinstance(body, list) or len(body) != 3 or not isinstance(body[0], list):
        raise InvalidMessage("Its body is not [[payload], {}, {}].")
    if is_handler(tasks[headers["task"]]):
        if body[1:] != [{}, {}] or len(body[0]) != 1:
            raise InvalidMessage("Its body is not [[payload], {}, {}].")
    elif not isinstance(body[1], dict) or not isinstance(body[2], dict):
        raise InvalidMessage("Its body is not [arguments, {}, {}].")
    return body


def _is_too_deep(*values: Any) -> bool:
    level: list[Any] = list(values)
    for _ in range(_DEEPEST):
        level = [
            child
            for value in level
            if isinstance(value, (dict, list))
            for child in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return False
    return any(isinstance(value, (dict, list)) for value in level)


def is_handler(task: Task) -> bool:
    """Whether the task stands for a service's handler, and is no job of Celery's own kind."""
    return getattr(task, "service", None) is not None


class ScreeningConsumer(Consumer):  # type: ignore[misc]  # Celery carries no types
    """Celery's consumer behind a screen. Nothing that comes over the wire ends it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        bundles = [
            max(task.batch, LARGEST_BUNDLE) if task.is_quick else 1
            for task in self.app.tasks.values()
            if is_handler(task)
        ]
        for_each_child = max(self.prefetch_multiplier, BUNDLES_IN_HAND * max(bundles, default=1))
        self._full_prefetch = self.pool.limit * for_each_child
        self._is_slow = True
        self.initial_prefetch_count = 1
        self.dispatcher = Dispatcher(self)
        self._is_flush_due = False

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        handle = super().create_task_handler(*args, **kwargs)

        def screen(message: Any) -> None:
            try:
                message._decoded_cache = screened(message, tasks=self.app.tasks)
                handle(message)
                self._note_arrival(message)
                return
            except self.connection_errors:
                raise
            except InvalidMessage as error:
                problem = str(error)
            except Exception as error:  # any bytes may come, and none of them may end the worker
                problem = f"It could not be taken in: {type(error).__name__}: {error}."
            self._reject(message, problem)

        return screen

    def on_send_event_buffered(self) -> None:
        """Tell Flower of many messages at once. At every turn of the loop, as Celery does, it costs a third of it."""
        if not self._is_flush_due:
            self._is_flush_due = True
            self.hub.call_later(EVENTS_GATHERED_FOR, self._flush_gathered)

    def _flush_gathered(self) -> None:
        self._is_flush_due = False
        self._flush_events()

    def ensure_connected(self, conn: Any) -> Any:
        """Celery's way, but asking every two seconds: its own pauses grow to half a minute in a long outage."""
        conn.ensure_connection = partial(
            conn.ensure_connection,
            interval_start=0.2,
            interval_step=0.4,
            interval_max=LONGEST_RECONNECT_PAUSE,
        )
        return super().ensure_connected(conn)

    def on_decode_error(self, message: Any, exc: BaseException) -> None:
        """Reject, where Celery acknowledges."""
        self._reject(message, f"It could not be decoded: {type(exc).__name__}: {exc}.")

    def on_close(self) -> None:
        """The connection is lost: begin slowly on the next one.

        Celery has set the prefetch to its own full number by now, and may drop the timer that was to flush events.
        """
        self.dispatcher.forget()
        self._is_slow = True
        self.initial_prefetch_count = 1
        super().on_close()
        self._is_flush_due = False

    def _note_arrival(self, message: Any) -> None:
        """A message that nobody had before: those that may have ended a consumer have been handled, one by one."""
        is_first_delivery = not message.delivery_info.get("redelivered") and not message.headers.get(
            "x-delivery-count"
        )
        if self._is_slow and is_first_delivery:
            self._is_slow = False
            self.hub.call_soon(self._take_more)

    def _take_more(self) -> None:
        """A changed limit holds for a new subscription only, so make one; what is in hand stays in hand."""
        consumer = self.task_consumer
        if consumer is None:
            return
        try:
            consumer.cancel()
            consumer.channel.basic_qos(0, self._full_prefetch, False)
            consumer.consume()
        except self.channel_errors as error:
            # Only a lost connection is mended by the event loop, and a channel that is gone leaves the worker deaf.
            raise RecoverableConnectionError(f"the channel was closed: {error}") from error

    def _reject(self, message: Any, problem: str) -> None:
        log.error("rejected message %s: %s", message.properties.get("message_id") or "without an id", problem)
        message.reject_log_error(log, self.connection_errors)
