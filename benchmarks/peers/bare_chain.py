"""A bare Celery chain of the three steps, which promises nothing: no key, no event, no record of the saga.

It has what the comparison asks for: `acks_late`, a quorum queue, persistent messages and a confirm of each, a prefork
pool, and one connection for each process that stays open. A refusal of the last step starts a chain of the two
compensations. What it does not need is off.

Run as a program it starts chains: for each line of JSON on its input, `{"orders": [...]}`, it publishes one for each
order and answers when all are confirmed.
"""

import json
import os
import sys
from typing import Any

import psycopg2
from celery import Celery, chain, signals
from kombu import Queue

from benchmarks.peers.saga_names import (
    AUTHORIZE,
    CHAIN_QUEUE,
    CHANGE,
    DONE,
    REFUSED,
    RESERVE,
    SHIP,
    UNDONE,
)

app = Celery("chain", broker=os.environ["BROKER_URL"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    task_queues=[
        Queue(CHAIN_QUEUE, durable=True, queue_arguments={"x-queue-type": "quorum"}, no_declare=True)
    ],
    task_default_queue=CHAIN_QUEUE,
    broker_transport_options={"confirm_publish": True},
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


def change(effect: int, step: str, order: dict[str, Any]) -> None:
    with _database.cursor() as cursor:
        cursor.execute(CHANGE, [effect, step, order["counter"]])
        cursor.fetchone()


@app.task(name="chain.reserve")
def reserve(order: dict[str, Any]) -> None:
    change(DONE, RESERVE, order)


@app.task(name="chain.authorize")
def authorize(order: dict[str, Any]) -> None:
    change(DONE, AUTHORIZE, order)


@app.task(name="chain.ship")
def ship(order: dict[str, Any]) -> None:
    if order["is_deliverable"]:
        change(DONE, SHIP, order)
        return
    change(REFUSED, SHIP, order)
    chain(void.si(order), release.si(order)).apply_async()


@app.task(name="chain.void")
def void(order: dict[str, Any]) -> None:
    change(UNDONE, AUTHORIZE, order)


@app.task(name="chain.release")
def release(order: dict[str, Any]) -> None:
    change(UNDONE, RESERVE, order)


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        for order in asked["orders"]:
            chain(reserve.si(order), authorize.si(order), ship.si(order)).apply_async()
        sys.stdout.write(json.dumps({"started": len(asked["orders"])}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
