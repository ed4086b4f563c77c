"""Giving a queue that exists with other arguments those that `messaging/topology.py` declares, losing no message.

The broker changes no queue's arguments, so the messages wait meanwhile in a second queue, the waiting room:

1. The waiting room is declared and bound as the queue is; then the queue is unbound. What is published in between is
   in both, and what is published afterwards in the waiting room.
2. The queue's messages are moved there: published, confirmed by the broker, and only then acknowledged.
3. With every outbox locked, so that no relay can publish straight to the queue, it is seen to be empty, deleted and
   declared anew. A relay that comes to find no queue keeps its row.
4. The new queue is bound, then the waiting room is unbound, emptied into it and deleted.

Killed at any point, it goes on where it was when it is run again: what there is on the broker tells how far it came.
A message may then be in the queue twice, which its idempotency key makes harmless.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import amqp
from amqp.exceptions import NotFound, PreconditionFailed
from django.conf import settings
from django.db import connections, transaction
from kombu import Connection, Queue

from messaging import topology
from messaging.database import count_sessions, session_name
from messaging.envelope import Envelope
from messaging.errors import MessagingError
from messaging.failpoints import failpoint
from messaging.properties import UNDECODABLE, tolerate_any_properties

log = logging.getLogger(__name__)

COLLECTOR = "collector"
"""Who consumes the dead-letter queues."""
WINDOW = 100
"""Messages that are on their way at once."""
LONGEST_WAIT_FOR_ANSWERS = 30.0
_LOCK_TIMEOUT = 10_000
"""Milliseconds that a lock on an outbox is waited for; a batch of the relay takes 2 s at most."""
_ONE_AT_A_TIME = 0x6D617267
"""The advisory lock of whoever migrates a queue."""
_OF_THE_BROKER = {"x-delivery-count"}
"""What the broker adds to each delivery."""

Progress = Callable[[str, int, int], None]
"""Told what is being moved, how many messages are, and of how many."""


class MigrationRefused(MessagingError):
    """The queue cannot be migrated now; the message says what is to be done first."""


def waiting_room_of(name: str) -> str:
    """Where the messages of a queue wait while it is made anew."""
    return f"{name}.migrating"


def declared_queue(name: str) -> Queue:
    """The queue as it is declared; raises `MigrationRefused` for a name that nothing declares."""
    for service in topology.services():
        for queue in (topology.queue_of(service), topology.dead_queue_of(service)):
            if queue.name == name:
                return queue
    known = ", ".join(f"{service}, {service}{topology.DEAD}" for service in topology.services())
    raise MigrationRefused(f"messaging/topology.py declares no queue {name!r}. There are: {known}.")


def users_of(name: str, connection: Connection) -> list[str]:
    """Who may hold messages of the queue: its consumers, and a worker of its service that has not ended yet."""
    found = []
    state = _state(name, connection)
    if state is not None and state[1]:
        found.append(f"{state[1]} consumers are attached to the queue {name}")
    consumer = COLLECTOR if name.endswith(topology.DEAD) else name
    sessions = count_sessions(consumer, database=settings.SERVICES.get(consumer, "default"))
    if sessions:
        found.append(
            f"who consumes it has {sessions} sessions named {session_name(consumer)} in its database"
        )
    return found


def migrate(name: str, connection: Connection, *, progress: Progress) -> bool:
    """Afterwards the queue has the declared arguments and every message it had; False where it had them already.

    Raises `MigrationRefused` where somebody uses the queue, or another migration is under way.
    """
    queue = declared_queue(name)
    room = Queue(
        waiting_room_of(name),
        durable=True,
        queue_arguments={"x-queue-type": "quorum", "x-delivery-limit": topology.DEAD_DELIVERY_LIMIT},
    )
    tolerate_any_properties()
    with _alone():
        is_left_over = _state(room.name, connection) is not None
        if _is_as_declared(queue, connection) and not is_left_over:
            return False
        if not _is_as_declared(queue, connection):
            refuse_users(name, connection)
            with connection.channel() as channel:
                room(channel).queue_declare()
                _bind(room, queue, channel)
                failpoint("migration.waiting_room_bound")
                if _state(name, connection) is not None:
                    _unbind(queue, queue, channel)
                    failpoint("migration.queue_unbound")
            if _state(name, connection) is not None:
                _replace(queue, room, connection, progress=progress)
        with connection.channel() as channel:
            queue(channel).queue_declare()
            _bind(queue, queue, channel)
            failpoint("migration.queue_declared")
            _unbind(room, queue, channel)
        _move(room.name, name, connection, progress=progress)
        failpoint("migration.moved_back")
        with connection.channel() as channel:
            channel.queue_delete(room.name)
    return True


def refuse_users(name: str, connection: Connection) -> None:
    """Raises `MigrationRefused` where somebody uses the queue."""
    users = users_of(name, connection)
    if users:
        raise MigrationRefused(
            f"The queue {name} is in use: {'; '.join(users)}. Stop its worker and wait until it has ended, "
            "or give --wait, and what is published meanwhile waits for you."
        )


def _replace(queue: Queue, room: Queue, connection: Connection, *, progress: Progress) -> None:
    """Move the messages out, then delete the queue at a moment when it is empty and nobody can publish to it."""
    while True:
        _move(queue.name, room.name, connection, progress=progress)
        with _outboxes_locked(), connection.channel() as channel:
            refuse_users(queue.name, connection)
            answer = channel.queue_declare(queue.name, passive=True)
            if answer.message_count == 0:
                channel.queue_delete(queue.name)
                failpoint("migration.queue_deleted")
                queue(channel).queue_declare()
                return


def _move(source: str, target: str, connection: Connection, *, progress: Progress) -> None:
    """Move every message that is in the source; each is in the target before it is acknowledged in the source."""
    with connection.channel() as reading, connection.channel() as writing:
        reading.auto_decode = False
        total = reading.queue_declare(source, passive=True).message_count
        publisher = _Confirmed(writing)
        moved = 0
        progress(f"{source} → {target}", moved, total)
        while True:
            window = [message for _ in range(WINDOW) if (message := reading.basic_get(source)) is not None]
            if not window:
                return
            publisher.publish([(_again(message), target) for message in window])
            failpoint("migration.window_published")
            reading.basic_ack(window[-1].delivery_tag, multiple=True)
            moved += len(window)
            progress(f"{source} → {target}", moved, max(total, moved))


def _again(message: Any) -> amqp.Message:
    """The same bytes and properties; the way that it first came stays in the headers, as with every later sending."""
    properties = dict(message.properties)
    if UNDECODABLE in properties:
        return _Verbatim(message.body, properties[UNDECODABLE])
    headers = dict(properties.pop("application_headers", None) or {})
    for name in _OF_THE_BROKER:
        headers.pop(name, None)
    if "idempotency_key" in headers and message.delivery_info.get("exchange"):
        info = message.delivery_info
        for name, came_by in (
            ("origin_exchange", info["exchange"]),
            ("origin_routing_key", info["routing_key"]),
        ):
            if name in Envelope.__struct_fields__:
                headers.setdefault(name, came_by)
    return amqp.Message(message.body, application_headers=headers, **properties)


class _Verbatim(amqp.Message):  # type: ignore[misc]  # py-amqp carries no types
    """A message whose properties go out as the bytes that came in."""

    def __init__(self, body: Any, raw: bytes) -> None:
        super().__init__(body)
        self._raw = raw

    def _serialize_properties(self) -> bytes:
        return self._raw


class _Confirmed:
    """Publishes windows of messages and waits until the broker has confirmed every one."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._open: set[int] = set()
        self._published = 0
        self._problem = ""
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)

    def publish(self, messages: list[tuple[amqp.Message, str]]) -> None:
        """Publish each straight to its queue; raises `MigrationRefused` unless the broker has taken all."""
        for message, queue in messages:
            self._published += 1
            self._open.add(self._published)
            self._channel._basic_publish(message, exchange="", routing_key=queue, mandatory=True)
        until = time.monotonic() + LONGEST_WAIT_FOR_ANSWERS
        while self._open and time.monotonic() < until:
            try:
                self._channel.connection.drain_events(timeout=LONGEST_WAIT_FOR_ANSWERS)
            except TimeoutError:
                break
        if self._open or self._problem:
            raise MigrationRefused(
                f"The broker did not take every message ({self._problem or 'no answer'}). Nothing is lost: what was "
                "not moved is where it was. Run the command again."
            )

    def _on_ack(self, delivery_tag: int, multiple: bool) -> None:
        self._settle(delivery_tag, multiple)

    def _on_nack(self, delivery_tag: int, multiple: bool) -> None:
        self._problem = "refused: nack"
        self._settle(delivery_tag, multiple)

    def _on_return(self, *_: Any) -> None:
        self._problem = "returned: its queue is gone"

    def _settle(self, delivery_tag: int, multiple: bool) -> None:
        self._open -= {tag for tag in self._open if tag <= delivery_tag} if multiple else {delivery_tag}


def _bindings_of(queue: Queue) -> list[tuple[str, str]]:
    if queue.exchange is topology.dead_letters:
        return [(topology.DEAD_LETTERS, queue.routing_key)]
    return [(exchange.name, key) for name, exchange, key in topology.bindings() if name == queue.name]


def _bind(bound: Queue, like: Queue, channel: Any) -> None:
    for exchange, routing_key in _bindings_of(like):
        channel.queue_bind(bound.name, exchange, routing_key)


def _unbind(bound: Queue, like: Queue, channel: Any) -> None:
    for exchange, routing_key in _bindings_of(like):
        channel.queue_unbind(bound.name, exchange, routing_key)


def _state(name: str, connection: Connection) -> tuple[int, int] | None:
    """Messages and consumers of a queue; None where there is none."""
    try:
        with connection.channel() as channel:
            answer = channel.queue_declare(name, passive=True)
    except NotFound:
        return None
    return answer.message_count, answer.consumer_count


def _is_as_declared(queue: Queue, connection: Connection) -> bool:
    """Whether the queue exists with the declared arguments."""
    if _state(queue.name, connection) is None:
        return False
    try:
        with connection.channel() as channel:
            queue(channel).queue_declare()
    except PreconditionFailed:
        return False
    return True


@contextmanager
def _alone() -> Iterator[None]:
    """Raises `MigrationRefused` where somebody else is migrating; the lock goes with the session that holds it."""
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [_ONE_AT_A_TIME])
        if not cursor.fetchone()[0]:
            raise MigrationRefused("Another migration of a queue is under way.")
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_ONE_AT_A_TIME])


@contextmanager
def _outboxes_locked() -> Iterator[None]:
    """Inside, no relay is in the middle of a batch or begins one: its claim waits, and so does whoever writes a row."""
    with ExitStack() as held:
        for alias in sorted(set(settings.SERVICES.values())):
            held.enter_context(transaction.atomic(using=alias))
            with connections[alias].cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT}")
                cursor.execute("LOCK TABLE messaging_outboxmessage IN EXCLUSIVE MODE")
        yield
