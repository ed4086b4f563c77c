"""What one command costs the database, counted: `python -m benchmarks.cost` prints JSON.

Two numbers for each kind: statements are what the database executes, round trips are the times that the worker
waits for it, BEGIN and COMMIT included.
"""

import json
import sys
from typing import Any

import django
from django.conf import settings
from django.db import connections
from django.test.utils import CaptureQueriesContext


def main() -> None:
    django.setup()
    from benchmarks.filling import NOTE, wire_of
    from benchmarks.messages import SERVICE, CountUp
    from messaging.consumer import consume
    from messaging.delivery import Delivery

    def deliver(counter: int) -> None:
        wire = wire_of(CountUp(counter=counter, note=NOTE))
        payload = json.loads(wire.body)[0][0]
        consume(SERVICE, Delivery(headers=wire.headers, payload=payload, exchange="commands", routing_key=""))

    connection = connections[settings.SERVICES[SERVICE]]
    deliver(0)
    statements: list[int] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        statements.append(sql.strip().strip(";").count(";") + 1)
        return execute(sql, *rest)

    with CaptureQueriesContext(connection) as queries, connection.execute_wrapper(note):
        deliver(1)
    commits = sum(query["sql"] == "COMMIT" for query in queries.captured_queries)
    found = {
        "statements": sum(statements),
        "round_trips": len(statements) + 2 * commits,
        "commits": commits,
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
