"""News of orders for the pages that wait for it.

One thread a process listens to PostgreSQL and wakes the streams of the order that a notification names. A
stream subscribes first and reads then, so that nothing falls between; after the listener was cut off it wakes
everybody, who read again. A notification is only a nudge: what a page shows is always read from the tables.
"""

import logging
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import psycopg2.extensions
from django.conf import settings
from django.db import connections

from orders.services import PROGRESS_CHANNEL, SERVICE

log = logging.getLogger(__name__)

MOST_STREAMS: int = settings.ORDER_PAGE_STREAMS
"""Open at once in one process: each holds one of its threads, and some must stay for everything else."""
STREAM_SECONDS = 25.0
"""After so long a stream ends and the browser opens another one, so that none outlives a proxy's patience."""
HEARTBEAT_SECONDS = 5.0
"""A line without meaning, by which a page that has gone away is noticed."""
_LOOK_UP_SECONDS = 0.5
"""Longest time until a stream or the listener sees that the process stops."""


class TooManyStreams(Exception):
    """This process holds as many open streams as it may."""


class Subscription:
    """One page's wish to be woken."""

    def __init__(self, order_id: str) -> None:
        self.order_id = order_id
        self._news = threading.Event()

    def wake(self) -> None:
        self._news.set()

    def wait(self, seconds: float) -> bool:
        """Whether there was news within so many seconds; it counts as seen then."""
        if not self._news.wait(seconds):
            return False
        self._news.clear()
        return True


class Listener:
    """The process's one ear at the database, begun by the first subscription and ended by `stop`."""

    def __init__(self, *, most_streams: int) -> None:
        self._most_streams = most_streams
        self._lock = threading.Lock()
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._count = 0
        self._thread: threading.Thread | None = None
        self.stopping = threading.Event()

    def subscribe(self, order_id: str) -> Subscription:
        """Wake the subscription at every change of the order; raises `TooManyStreams`."""
        subscription = Subscription(order_id)
        with self._lock:
            if self._count >= self._most_streams:
                raise TooManyStreams
            self._count += 1
            self._subscriptions.setdefault(order_id, set()).add(subscription)
            if self._thread is None and not self.stopping.is_set():
                self._thread = threading.Thread(target=self._listen, name="order-progress", daemon=True)
                self._thread.start()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Make room for another one; a second time changes nothing."""
        with self._lock:
            waiting = self._subscriptions.get(subscription.order_id, set())
            if subscription not in waiting:
                return
            self._count -= 1
            waiting.discard(subscription)
            if not waiting:
                del self._subscriptions[subscription.order_id]

    def stop(self) -> None:
        """End every stream and the thread, within a second; does not wait for it, so a signal may call it."""
        self.stopping.set()

    def wait_until_stopped(self, seconds: float) -> None:
        """After `stop`: wait for the thread to close its connection, at most so long."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _listen(self) -> None:
        pause = 0.1
        is_away = False
        while not self.stopping.is_set():
            try:
                connection = _connected()
                try:
                    if is_away:
                        log.info("live order pages: listening again")
                    pause, is_away = 0.1, False
                    self._wake_all()
                    self._serve(connection)
                finally:
                    connection.close()
            except (psycopg2.OperationalError, psycopg2.InterfaceError, OSError) as error:
                if not is_away:
                    log.warning("live order pages: the database is away, waiting: %s", str(error).strip())
                is_away = True
                self.stopping.wait(pause)
                pause = min(1.0, pause * 2)

    def _serve(self, connection: Any) -> None:
        while not self.stopping.is_set():
            if not select.select([connection], [], [], _LOOK_UP_SECONDS)[0]:
                continue
            connection.poll()
            changed = {notification.payload for notification in connection.notifies}
            connection.notifies.clear()
            with self._lock:
                woken = [
                    subscription for order in changed for subscription in self._subscriptions.get(order, ())
                ]
            for subscription in woken:
                subscription.wake()

    def _wake_all(self) -> None:
        with self._lock:
            everybody = [subscription for waiting in self._subscriptions.values() for subscription in waiting]
        for subscription in everybody:
            subscription.wake()


def _connected() -> Any:
    connection = psycopg2.connect(**connections[settings.SERVICES[SERVICE]].get_connection_params())
    connection.set_isolation_level(psycopg2.extensions.ISOLATION_LEVEL_AUTOCOMMIT)
    with connection.cursor() as cursor:
        cursor.execute(f"LISTEN {PROGRESS_CHANNEL}")
    return connection


listener = Listener(most_streams=MOST_STREAMS)


class Stream:
    """Server-sent events of one order, until it is finished, the process stops or `STREAM_SECONDS` are over.

    `read` returns the state's version, its HTML and whether it is the last one; a version equal to `seen` is
    not sent again. Raises `TooManyStreams` when it is made, so that the refusal is an answer and not a broken
    stream. The server that iterates it calls `close` at the end.
    """

    def __init__(
        self, order_id: str, *, read: Callable[[], tuple[str, str, bool]], seen: str, listener: Listener
    ) -> None:
        self._read = read
        self._seen = seen
        self._listener = listener
        self._subscription = listener.subscribe(order_id)

    def close(self) -> None:
        self._listener.unsubscribe(self._subscription)

    def __iter__(self) -> Iterator[bytes]:
        yield b"retry: 1000\n\n"
        until = time.monotonic() + STREAM_SECONDS
        heartbeat = time.monotonic() + HEARTBEAT_SECONDS
        is_news = True
        while not self._listener.stopping.is_set() and time.monotonic() < until:
            if is_news:
                version, html, is_last = self._read()
                if version != self._seen:
                    self._seen = version
                    yield _event(version, html)
                if is_last:
                    return
            elif time.monotonic() >= heartbeat:
                heartbeat = time.monotonic() + HEARTBEAT_SECONDS
                yield b": still here\n\n"
            is_news = self._subscription.wait(_LOOK_UP_SECONDS)


def _event(version: str, html: str) -> bytes:
    lines = "".join(f"data: {line}\n" for line in html.splitlines())
    return f"event: progress\nid: {version}\n{lines}\n".encode()


def stop_at_signals(*signals: signal.Signals) -> None:
    """From the main thread: end the streams when one of the signals comes, then go on as before."""
    for number in signals:
        signal.signal(number, _stopping_before(signal.getsignal(number)))


def _stopping_before(follow: Any) -> Callable[[int, Any], None]:
    def handle(number: int, frame: Any) -> None:
        listener.stop()
        if callable(follow):
            follow(number, frame)

    return handle
