"""Stores dead letters as the collector does, when it is asked: a line of JSON with `batches` or `fold` on its input.

Answers the seconds that it took. Messages are made, and their failures recorded, while the clock stands still; reading
the letters from bytes and headers, asking for their failures and storing them is what is timed.
"""

import json
import sys
import time
from uuid import uuid4

import django

BATCH = 100
_TRACEBACK = "".join(
    f'  File "/srv/makegood/inventory/services.py", line {line}, in reserve\n' for line in range(12)
)


def main() -> None:
    django.setup()
    from deadletters import tallies
    from deadletters.collecting import storing
    from deadletters.collecting.failures import Failures
    from deadletters.collecting.reading import read
    from messaging.envelope import new_message_id, utc_now

    failures = Failures()

    def store(batches: int) -> float:
        seconds = 0.0
        for _ in range(batches):
            received = _received(BATCH)
            began = time.perf_counter()
            letters = [read(each, letter_id=new_message_id(), now=utc_now()) for each in received]
            storing.store(letters, failures=failures)
            seconds += time.perf_counter() - began
        return seconds

    def fold() -> float:
        began = time.perf_counter()
        tallies.fold(now=utc_now())
        return time.perf_counter() - began

    for line in sys.stdin:
        order = json.loads(line)
        seconds = store(order["batches"]) if "batches" in order else fold()
        sys.stdout.write(json.dumps({"seconds": seconds}) + "\n")
        sys.stdout.flush()


def _received(count: int) -> list[object]:
    """Commands that have just died in one place, each with the failure that its service has recorded."""
    from benchmarks.filling import wire_of
    from benchmarks.messages import SERVICE
    from contracts.inventory import ReserveStock
    from contracts.values import Line
    from deadletters.collecting.reading import Received
    from messaging.envelope import utc_now
    from messaging.models import FailedAttempt

    made, failed = [], []
    for number in range(count):
        wire = wire_of(ReserveStock(order_id=uuid4(), lines=(Line(sku="mug", quantity=2),)), tag=number)
        death = {"reason": "rejected", "queue": SERVICE, "exchange": "commands", "count": 1}
        headers = {**wire.headers, "x-death": [{**death, "routing-keys": [wire.routing_key]}]}
        properties = {"application_headers": headers, "content_type": "application/json"}
        made.append(Received(service=SERVICE, properties=properties, body=wire.body.encode()))
        failed.append(
            FailedAttempt(
                consumer=SERVICE,
                message_id=wire.message_id,
                attempt=1,
                type=ReserveStock.wire_type,
                correlation_id=wire.headers["correlation_id"],
                exception=f"TimeoutError: no answer to call {uuid4().hex} within 5 s",
                traceback=_TRACEBACK,
                failed_at=utc_now(),
            )
        )
    FailedAttempt.objects.bulk_create(failed)
    return made


if __name__ == "__main__":
    main()
