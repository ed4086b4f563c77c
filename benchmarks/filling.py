"""Rows by the thousand and by the million, written by the database itself."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import msgspec

from benchmarks.messages import SERVICE, CountUp, CountUpInBatch
from benchmarks.stage import COUNTERS, Place
from contracts.message import Command, Event
from messaging.envelope import Envelope, new_message_id
from messaging.publishing import Publisher, Wire

NOTE = (
    "so many words that the body is as long as that of a usual command of the shop, about two hundred bytes"
)

UUID7 = """(lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint - {age} + number), 12, '0')
             || '7' || substr(md5('{salt}' || number), 1, 3) || '8' || substr(md5('{salt}' || number), 4, 15))::uuid"""
"""Version 7: sorted by the time at which they were made, as those of the application."""

_ROWS = f"""
INSERT INTO messaging_outboxmessage
    (message_id, known_key, service, type, exchange, routing_key, headers, body, available_at, created_at, failures,
     last_error)
SELECT message_id, CASE WHEN %(known)s THEN 'deadline:' || message_id END, '{SERVICE}', '{CountUp.wire_type}',
       'commands', '{CountUp.routing_key()}',
       jsonb_build_object(
           'message_id', message_id, 'type', '{CountUp.wire_type}',
           'idempotency_key', saga_id || ':reserve:1:action', 'correlation_id', order_id,
           'occurred_at', now(), 'causation_id', order_id, 'saga_id', saga_id, 'step', 'reserve', 'step_try', 1),
       jsonb_build_object('counter', number %% {COUNTERS}, 'note', '{NOTE}'),
       now() + %(delay)s * interval '1 second' + number * interval '1 microsecond' - interval '5 seconds', now(), 0, ''
FROM (SELECT number,
             {UUID7.format(age="0", salt="m")} AS message_id,
             {UUID7.format(age="0", salt="s")} AS saga_id,
             {UUID7.format(age="0", salt="o")} AS order_id
      FROM generate_series(1, %(count)s) AS number) AS given"""

_KEYS = """
INSERT INTO messaging_idempotencykey
    (consumer, key, state, message_id, type, fence, reply, claimed_at, finished_at)
SELECT '{service}',
       CASE WHEN number %% 2 = 0 THEN saga_id || ':reserve:1:action' ELSE message_id::text END,
       'finished', message_id, '{wire_type}', 0,
       CASE WHEN number %% 2 = 0 THEN jsonb_build_object(
           'envelope', jsonb_build_object(
               'message_id', saga_id, 'type', 'benchmarks.counted_up.v1', 'idempotency_key', saga_id,
               'correlation_id', message_id, 'occurred_at', now()),
           'body', jsonb_build_object('counter', 1, 'value', number), 'service', '{service}', 'exchange', 'events',
           'routing_key', 'benchmarks.counted_up.v1', 'available_at', now()) END,
       made_at, made_at
FROM (SELECT number, now() - (%(all)s - number) * interval '250 milliseconds' AS made_at,
             {message_id} AS message_id, {saga_id} AS saga_id
      FROM generate_series(%(first)s, %(last)s) AS number) AS given"""


def fill_outbox(place: Place, count: int, *, delay: float = 0, is_known: bool = False) -> tuple[int, float]:
    """Commit so many rows, due in `delay` seconds, and wake the relay.

    Returns the highest id before them, and the moment of the commit by `time.perf_counter`.
    """
    connection = place.connect()
    connection.autocommit = False
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT coalesce(max(id), 0) FROM messaging_outboxmessage")
            (before,) = cursor.fetchone()
            cursor.execute(_ROWS, {"count": count, "delay": delay, "known": is_known})
            cursor.execute("SELECT pg_notify('outbox', '')")
        connection.commit()
        return int(before), time.perf_counter()
    finally:
        connection.close()


def fill_keys(place: Place, count: int, *, chunk: int = 500_000) -> None:
    """Claimed keys as of weeks: half of them of commands of sagas with their replies, half message ids."""
    insert = _KEYS.format(
        service=SERVICE,
        wire_type=CountUp.wire_type,
        message_id=UUID7.format(age=count, salt="k"),
        saga_id=UUID7.format(age=count, salt="g"),
    )

    connection = place.connect()
    try:
        with connection.cursor() as cursor:
            write_in_chunks(place, cursor, "messaging_idempotencykey", insert, count=count, chunk=chunk)
    finally:
        connection.close()


def write_in_chunks(place: Place, cursor: Any, table: str, insert: str, *, count: int, chunk: int) -> None:
    """Run the insert for the numbers up to `count`: from `%(first)s` to `%(last)s` of `%(all)s` each time.

    Two sessions write, and the table's indexes are made afterwards, as they were: a quarter of the time.
    """

    def write(first: int) -> None:
        session = place.connect()
        try:
            with session.cursor() as own:
                own.execute("SET synchronous_commit = off")
                own.execute(insert, {"first": first, "last": min(first + chunk - 1, count), "all": count})
        finally:
            session.close()

    cursor.execute("SET maintenance_work_mem = '512MB'")
    remade = drop_indexes(cursor, table)
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(write, range(1, count + 1, chunk)))
    for statement in remade:
        cursor.execute(statement)


def settle(place: Place) -> None:
    """Vacuum, statistics and a checkpoint, so that what a fill leaves behind is not measured."""
    connection = place.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET maintenance_work_mem = '512MB'")
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("CHECKPOINT")
    finally:
        connection.close()


def drop_indexes(cursor: Any, table: str) -> list[str]:
    """Drop the table's constraints, references to others among them, and indexes but for the primary key.

    Returns what makes them again.
    """
    cursor.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = %s::regclass AND contype IN ('u', 'f') ORDER BY contype DESC",
        [table],
    )
    remade = []
    for name, definition in cursor.fetchall():
        cursor.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
        remade.append(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}')
    cursor.execute(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index "
        "WHERE indrelid = %s::regclass AND NOT indisprimary",
        [table],
    )
    for name, definition in cursor.fetchall():
        cursor.execute(f"DROP INDEX {name}")
        remade.append(definition)
    return remade


class Sender:
    """Puts commands straight into a queue, as the relay would, so that only their handling is measured."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def commands(self, kind: type[CountUp] | type[CountUpInBatch], count: int) -> None:
        """Publish so many commands; each in flight changes a row of its own."""
        self.send([kind(counter=number % COUNTERS, note=NOTE) for number in range(count)])

    def send(self, messages: Sequence[Command | Event]) -> None:
        wires = [wire_of(message, tag=number) for number, message in enumerate(messages)]
        self._publish(wires)

    def bare(self, task: str, queue: str, count: int) -> None:
        """The same payloads as a bare Celery task's messages."""
        wires = []
        for number in range(count):
            message_id = str(new_message_id())
            payload = CountUp(counter=number % COUNTERS, note=NOTE).to_payload()
            headers: dict[str, Any] = {"id": message_id, "task": task, "lang": "py", "root_id": message_id}
            headers |= {"parent_id": None, "argsrepr": "", "kwargsrepr": "", "ignore_result": True}
            wires.append(_wire(number, message_id, "", queue, headers, payload))
        self._publish(wires)

    def _publish(self, wires: list[Wire]) -> None:
        publisher = Publisher(self._place.broker_url)
        publisher.connect()
        try:
            for first in range(0, len(wires), 500):
                publisher.publish(wires[first : first + 500], wait=60)
        finally:
            publisher.close()


def wire_of(message: Command | Event, *, tag: int = 0) -> Wire:
    """The message as the relay would publish it, with the envelope of a saga's command or of an event."""
    saga_id = new_message_id()
    message_id = new_message_id()
    is_command = isinstance(message, Command)
    envelope = Envelope(
        message_id=message_id,
        type=message.wire_type,
        idempotency_key=f"{saga_id}:reserve:1:action" if is_command else str(message_id),
        correlation_id=str(getattr(message, "order_id", saga_id)),
        occurred_at=datetime.now(UTC),
        saga_id=saga_id if is_command else None,
        step="reserve" if is_command else None,
        step_try=1 if is_command else None,
    )
    exchange = "commands" if is_command else "events"
    return _wire(
        tag, str(message_id), exchange, message.routing_key(), envelope.to_headers(), message.to_payload()
    )


def _wire(
    tag: int, message_id: str, exchange: str, routing_key: str, headers: dict[str, Any], payload: Any
) -> Wire:
    return Wire(
        tag=tag,
        message_id=message_id,
        correlation_id=message_id,
        exchange=exchange,
        routing_key=routing_key,
        headers=headers,
        body=f"[[{msgspec.json.encode(payload).decode()}], {{}}, {{}}]",
    )
