"""The three steps as a DBOS workflow, in one of two ways (STEPS_AS).

`transactions`: a step is a transaction of a DBOS datasource, which changes the row and keeps the step's checkpoint, so
that it takes effect exactly once. `steps`: a step changes the row on a connection that stays open, and DBOS keeps the
checkpoint afterwards; a crash between the two repeats it. The compensations are steps of the workflow too.

For each line of JSON on its input, `{"orders": [...]}`, it runs a workflow for each order, THREADS of them at a time,
and answers when the last has ended and is recorded.
"""

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
from dbos import DBOS, DBOSConfig, SQLAlchemyDatasource
from sqlalchemy import text

from benchmarks.peers.saga_names import AUTHORIZE, CHANGE, DONE, REFUSED, RESERVE, SHIP, UNDONE

THREADS = int(os.environ["THREADS"])
_IN_TRANSACTIONS = os.environ["STEPS_AS"] == "transactions"
_URL = os.environ["DATABASE_URL"].replace("postgres://", "postgresql://", 1)

_config: DBOSConfig = {
    "name": "checkout",
    "system_database_url": _URL,
    "application_version": "1",
    "executor_id": os.environ["EXECUTOR"],
    "log_level": "ERROR",
    "sys_db_pool_size": THREADS + 4,
}
DBOS(config=_config)
_datasource = SQLAlchemyDatasource.create(_URL, engine_kwargs={"pool_size": THREADS})
_NAMED = text(CHANGE.replace("%s", ":effect", 1).replace("%s", ":step", 1).replace("%s", ":counter", 1))
_of_thread = threading.local()


def _change_in_transaction(effect: int, step: str, counter: int) -> int:
    given = {"effect": effect, "step": step, "counter": counter}
    return int(_datasource.sql_session().execute(_NAMED, given).scalar_one())


@DBOS.step()
def _change(effect: int, step: str, counter: int) -> int:
    if not hasattr(_of_thread, "connection"):
        _of_thread.connection = psycopg.connect(_URL, autocommit=True)
    return int(_of_thread.connection.execute(CHANGE, [effect, step, counter]).fetchone()[0])


def _run(effect: int, step: str, order: dict[str, Any]) -> None:
    if _IN_TRANSACTIONS:
        options = {"name": step, "isolation_level": "READ COMMITTED"}
        _datasource.run_tx_step(options, _change_in_transaction, effect, step, order["counter"])
    else:
        _change(effect, step, order["counter"])


@DBOS.workflow()
def checkout(order: dict[str, Any]) -> str:
    _run(DONE, RESERVE, order)
    _run(DONE, AUTHORIZE, order)
    if order["is_deliverable"]:
        _run(DONE, SHIP, order)
        return "completed"
    _run(REFUSED, SHIP, order)
    _run(UNDONE, AUTHORIZE, order)
    _run(UNDONE, RESERVE, order)
    return "compensated"


def main() -> None:
    DBOS.launch()
    with ThreadPoolExecutor(THREADS) as pool:
        for line in sys.stdin:
            ended = list(pool.map(checkout, json.loads(line)["orders"]))
            sys.stdout.write(json.dumps({"ended": len(ended)}) + "\n")
            sys.stdout.flush()
    DBOS.destroy()


if __name__ == "__main__":
    main()
