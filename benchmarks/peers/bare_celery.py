"""A bare Celery task: it changes the row and nothing else. No idempotency key, no event, no reply.

It has what the comparison asks for: a prefork pool of the same size, `acks_late`, a quorum queue, the same
prefetch, and one connection for each process that stays open. What it does not need is off.
"""

import os
from typing import Any

import psycopg2
from celery import Celery, signals
from kombu import Queue

from benchmarks.peers.bare_names import QUEUE, TASK

app = Celery("bare", broker=os.environ["BROKER_URL"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    task_queues=[Queue(QUEUE, durable=True, queue_arguments={"x-queue-type": "quorum"}, no_declare=True)],
    task_default_queue=QUEUE,
    worker_prefetch_multiplier=4,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)

_database: Any = None


@signals.worker_process_init.connect
def connect(**_: Any) -> None:
    global _database
    _database = psycopg2.connect(os.environ["DATABASE_URL"])
    _database.autocommit = True


@app.task(name=TASK)
def count_up(payload: dict[str, Any]) -> None:
    with _database.cursor() as cursor:
        cursor.execute(
            "UPDATE benchmarks_counter SET value = value + 1 WHERE id = %s RETURNING value",
            [payload["counter"]],
        )
        cursor.fetchone()
