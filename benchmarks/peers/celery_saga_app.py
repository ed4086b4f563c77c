"""The three steps as a saga of celery-saga, with its state in the same PostgreSQL.

celery-saga comes with two places for its state, memory and Redis: the first is no use between processes, the second is
durable only where somebody has made it so. Here a `SagaBackend` of a dozen lines keeps each saga as the JSON that the
Redis backend keeps. Everything else is as for the bare chain: `acks_late`, a quorum queue, confirms, a prefork pool and
one connection for each process that stays open.

Run as a program it starts sagas: for each line of JSON on its input, `{"orders": [...]}`, it runs one for each order
and answers when all are stored and published.
"""

import json
import os
import sys
from typing import Any

import psycopg2
from celery import Celery, signals
from celery_saga import PermanentFailure, Saga
from celery_saga.backends.base import SagaBackend
from celery_saga.executor import set_default_backend
from celery_saga.state import SagaExecution
from celery_saga.step import saga_task
from kombu import Queue

from benchmarks.peers.saga_names import (
    AUTHORIZE,
    CELERY_SAGA_QUEUE,
    CELERY_SAGA_TABLE,
    CHANGE,
    DONE,
    REFUSED,
    RESERVE,
    SHIP,
    UNDONE,
)

_SAVE = f"""
INSERT INTO {CELERY_SAGA_TABLE} (id, status, body) VALUES (%s, %s, %s::jsonb)
ON CONFLICT (id) DO UPDATE SET status = excluded.status, body = excluded.body"""
_LOAD = f"SELECT body FROM {CELERY_SAGA_TABLE} WHERE id = %s"

app = Celery("celery_saga_peer", broker=os.environ["BROKER_URL"], set_as_current=True)
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    task_queues=[
        Queue(CELERY_SAGA_QUEUE, durable=True, queue_arguments={"x-queue-type": "quorum"}, no_declare=True)
    ],
    task_default_queue=CELERY_SAGA_QUEUE,
    broker_transport_options={"confirm_publish": True},
    worker_prefetch_multiplier=4,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
app.set_default()

_database: Any = None


@signals.worker_process_init.connect
def connect(**_: Any) -> None:
    global _database
    _database = psycopg2.connect(os.environ["DATABASE_URL"])
    _database.autocommit = True


class PostgresBackend(SagaBackend):
    """Each saga is one row, written as a whole, as the Redis backend does it."""

    def save(self, execution: SagaExecution) -> None:
        with _database.cursor() as cursor:
            cursor.execute(
                _SAVE, [execution.saga_id, execution.status.value, json.dumps(execution.to_dict())]
            )

    def load(self, saga_id: str) -> SagaExecution | None:
        with _database.cursor() as cursor:
            cursor.execute(_LOAD, [saga_id])
            row = cursor.fetchone()
        return None if row is None else SagaExecution.from_dict(row[0])

    def delete(self, saga_id: str) -> None:
        raise NotImplementedError("nobody deletes a saga here")

    def find_by_idempotency_key(self, key: str) -> SagaExecution | None:
        raise NotImplementedError("nobody starts a saga by key here")


set_default_backend(PostgresBackend())


def change(effect: int, step: str, counter: int) -> None:
    with _database.cursor() as cursor:
        cursor.execute(CHANGE, [effect, step, counter])
        cursor.fetchone()


@app.task(name="saga.release")
def release(order: dict[str, Any]) -> None:
    change(UNDONE, RESERVE, order["counter"])


@app.task(name="saga.void")
def void(order: dict[str, Any]) -> None:
    change(UNDONE, AUTHORIZE, order["counter"])


@saga_task(app, compensate=release, name="saga.reserve")
def reserve(**order: Any) -> dict[str, Any]:
    change(DONE, RESERVE, order["counter"])
    return {"counter": order["counter"]}


@saga_task(app, compensate=void, name="saga.authorize")
def authorize(**order: Any) -> dict[str, Any]:
    change(DONE, AUTHORIZE, order["counter"])
    return {"counter": order["counter"]}


@saga_task(app, no_compensation=True, name="saga.ship")
def ship(**order: Any) -> dict[str, Any]:
    if order["is_deliverable"]:
        change(DONE, SHIP, order["counter"])
        return {"counter": order["counter"]}
    change(REFUSED, SHIP, order["counter"])
    raise PermanentFailure("undeliverable")


checkout = Saga("checkout").add_step(reserve).add_step(authorize).add_step(ship)


def main() -> None:
    connect()
    for line in sys.stdin:
        asked = json.loads(line)
        for order in asked["orders"]:
            checkout.run(**order)
        sys.stdout.write(json.dumps({"started": len(asked["orders"])}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
