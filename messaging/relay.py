"""The relay: from the outbox of one database to the broker, at least once, in order of availability.

A batch is claimed with SKIP LOCKED, published with pipelined confirms, and what was confirmed is deleted in the
transaction that locked it. A crash repeats messages and loses none. This is the one transaction that is held
over the network, so it is bounded: no batch is opened while the broker is away or blocked, and it waits for
answers no longer than `WAIT_FOR_ANSWERS`.
"""

import logging
import select
import threading
import time
from typing import Any

import msgspec
import psycopg2
import psycopg2.extensions
from amqp.exceptions import AMQPError, ChannelError, FrameSyntaxError
from django.conf import settings
from django.db import connections
from kombu.exceptions import OperationalError

from messaging import metrics, vitality
from messaging.envelope import Envelope
from messaging.failpoints import failpoint
from messaging.outbox_rows import CHANNEL
from messaging.publishing import Answers, Publisher, Wire

log = logging.getLogger(__name__)

WAIT_FOR_ANSWERS = 2.0
"""Seconds that a batch waits for the broker."""
LONGEST_REFUSAL_PAUSE = 60.0
LONGEST_LOAD_PAUSE = 0.02
"""Seconds between batches that were almost full: fuller batches cost less for each message. After a full one there
is no pause, for more is waiting."""

_FIRST_PAUSE = 0.1
_OF_THE_MESSAGE = (ChannelError, FrameSyntaxError)
"""Failures that one message causes, not the connection."""

_CLAIM = """
SELECT id, message_id, exchange, routing_key, headers::text, body::text
FROM messaging_outboxmessage WHERE available_at <= now()
ORDER BY available_at, id LIMIT %s FOR UPDATE SKIP LOCKED"""

_DELETE = "DELETE FROM messaging_outboxmessage WHERE id = ANY(%s)"

_REFUSED = """
UPDATE messaging_outboxmessage AS row
SET failures = failures + 1, last_error = given.error,
    available_at = now() + LEAST(%s, power(2, LEAST(failures, 16)))  * interval '1 second'
FROM unnest(%s::bigint[], %s::text[]) AS given (id, error) WHERE row.id = given.id"""

_NEXT_DUE = "SELECT extract(epoch FROM min(available_at) - now()) FROM messaging_outboxmessage"


class Relay:
    """Serves the outbox of one database until `stop` is set."""

    def __init__(self, *, database: str, broker_url: str, stop: threading.Event) -> None:
        self._database = database
        self._name = f"relay of {database}"
        self._broker_url = broker_url
        self._stop = stop
        self._listener: Any = None
        self._publisher: Publisher | None = None
        self._is_away = False
        self._pause = _FIRST_PAUSE
        self._batch = settings.RELAY_BATCH
        self._message_ids: dict[int, Any] = {}

    def run(self) -> None:
        """Publish until stopped; a database or broker that is away is waited for."""
        with vitality.main_loop(self._name):
            vitality.waits(self._name, "it has not connected yet")
            self._run()
        self._close()

    def _run(self) -> None:
        while not self._stop.is_set():
            vitality.turned()
            try:
                self._open()
                self._serve()
            except self._passing_errors() as error:
                vitality.waits(self._name, f"database or broker is away ({type(error).__name__})")
                if not self._is_away:
                    log.warning("relay of %s: waiting, %s: %s", self._database, type(error).__name__, error)
                self._is_away = True
                self._close()
                self._stop.wait(self._pause)
                self._pause = min(1.0, self._pause * 2)

    def _passing_errors(self) -> tuple[type[BaseException], ...]:
        return (psycopg2.Error, OSError, AMQPError, OperationalError)

    def _serve(self) -> None:
        while not self._stop.is_set():
            assert self._publisher is not None
            vitality.turned()
            self._publisher.tend()
            if not self._publisher.is_ready():
                vitality.waits(self._name, "the broker takes no messages now (an alarm)")
                self._wait(0.5)
                continue
            claimed = self._publish_batch()
            self._note_success()
            if claimed:
                load = claimed / settings.RELAY_BATCH
                if load < 1:
                    time.sleep(LONGEST_LOAD_PAUSE * load)
            else:
                # A row that is due and was not claimed is in somebody else's hands.
                self._wait(max(0.05, self._seconds_until_due()))

    def _note_success(self) -> None:
        if self._is_away:
            log.info("relay of %s: working again", self._database)
        vitality.waits(self._name, None)
        self._is_away = False
        self._pause = _FIRST_PAUSE
        self._batch = min(settings.RELAY_BATCH, self._batch * 2)

    def _publish_batch(self) -> int:
        """Claim, publish, settle: one transaction. Returns how many rows were claimed."""
        assert self._publisher is not None
        with self._listener, self._listener.cursor() as cursor:
            cursor.execute(_CLAIM, [self._batch])
            rows = cursor.fetchall()
            if not rows:
                return 0
            failpoint("relay.claimed")
            messages, unreadable = _wires(rows)
            self._message_ids = {row[0]: row[1] for row in rows}
            begun = time.monotonic()
            answers = self._publisher.publish(messages, wait=WAIT_FOR_ANSWERS)
            seconds = time.monotonic() - begun
            failpoint("relay.published")
            answers.refused.update(unreadable)
            if len(rows) == 1 and isinstance(answers.failure, _OF_THE_MESSAGE):
                answers.refused[rows[0][0]] = f"it breaks the channel: {answers.failure}"
            self._settle(cursor, answers)
            failpoint("relay.deleted")
        failpoint("relay.committed")
        unknown = len(rows) - len(answers.confirmed) - len(answers.refused)
        metrics.batch_published(
            self._database,
            confirmed=len(answers.confirmed),
            refused=len(answers.refused) - answers.returned,
            returned=answers.returned,
            unanswered=unknown,
            seconds=seconds,
        )
        if unknown or answers.failure is not None:
            # The next batches are of one row, then two, four: a row that breaks the channel is found, and set aside.
            self._batch = 1
            raise OSError(
                f"the broker left {unknown} of {len(rows)} messages unanswered ({answers.failure or 'too slow'}); "
                "they are sent again"
            )
        return len(rows)

    def _settle(self, cursor: Any, answers: Answers) -> None:
        if answers.confirmed:
            cursor.execute(_DELETE, [answers.confirmed])
        if answers.refused:
            for tag, error in answers.refused.items():
                about = {"of": {"message_id": str(self._message_ids.get(tag, ""))}}
                log.error("%s: outbox row %d was refused: %s", self._name, tag, error, extra=about)
            cursor.execute(
                _REFUSED, [LONGEST_REFUSAL_PAUSE, list(answers.refused), list(answers.refused.values())]
            )

    def _seconds_until_due(self) -> float:
        with self._listener, self._listener.cursor() as cursor:
            cursor.execute(_NEXT_DUE)
            (due,) = cursor.fetchone()
        longest: float = settings.RELAY_POLL
        return longest if due is None else min(longest, max(0.0, float(due)))

    def _wait(self, seconds: float) -> None:
        """Sleep until a notification, until news of the broker, or so many seconds; at most 1 s at a time."""
        assert self._publisher is not None
        self._listener.poll()
        if self._listener.notifies:
            # It came with the answer to a statement, so the socket has nothing more to say of it.
            self._listener.notifies.clear()
            return
        until = time.monotonic() + seconds
        while not self._stop.is_set() and (left := until - time.monotonic()) > 0:
            vitality.turned()
            ready, _, _ = select.select([self._listener, self._publisher], [], [], min(1.0, left))
            if self._listener in ready:
                self._listener.poll()
            if self._listener.notifies:
                self._listener.notifies.clear()
                return
            if ready:
                return

    def _open(self) -> None:
        """Connect to both; LISTEN comes before the first look, so that nothing falls between them."""
        parameters = connections[self._database].get_connection_params()
        parameters.pop("cursor_factory", None)
        parameters["application_name"] = "makegood-relay"
        self._listener = psycopg2.connect(**parameters)
        with self._listener, self._listener.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
            # A deletion that a crash of the server undoes repeats a message, as a crash of the relay does.
            cursor.execute("SET synchronous_commit = off")
        self._publisher = Publisher(self._broker_url)
        self._publisher.connect()

    def _close(self) -> None:
        if self._publisher is not None:
            self._publisher.close()
        if self._listener is not None:
            self._listener.close()
        self._publisher = self._listener = None


def _wires(rows: list[tuple[Any, ...]]) -> tuple[list[Wire], dict[int, str]]:
    """The rows as messages, and those that are none with the reason: one bad row holds up no other."""
    messages: list[Wire] = []
    unreadable: dict[int, str] = {}
    for row in rows:
        try:
            messages.append(_wire(row))
        except msgspec.MsgspecError as error:
            unreadable[row[0]] = f"its headers are not an envelope: {error}"
    return messages, unreadable


def _wire(row: tuple[Any, ...]) -> Wire:
    tag, message_id, exchange, routing_key, headers, body = row
    envelope = msgspec.json.decode(headers, type=Envelope)
    return Wire(
        tag=tag,
        message_id=str(message_id),
        correlation_id=envelope.correlation_id,
        exchange=exchange,
        routing_key=routing_key,
        headers=envelope.to_headers(),
        body=f"[[{body}], {{}}, {{}}]",
    )


def run_relays(*, databases: list[str], broker_url: str, stop: threading.Event) -> None:
    """One relay for each database, until `stop` is set; an unexpected error in one ends them all and is raised."""
    errors: list[BaseException] = []

    def guarded(relay: Relay) -> None:
        try:
            relay.run()
        except BaseException as error:
            errors.append(error)
            stop.set()
            raise

    threads = [
        threading.Thread(
            target=guarded,
            args=(Relay(database=database, broker_url=broker_url, stop=stop),),
            name=f"relay-{database}",
        )
        for database in databases
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
