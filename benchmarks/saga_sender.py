"""Takes orders at a steady rate, as a shop does: `python -m benchmarks.saga_sender RATE COUNT SEED KIND`.

Each is an event and a row of the outbox, committed together. Prints, as JSON, when each was committed, by its order:
the clock is read when all is written and only COMMIT is left.
"""

import json
import random
import sys
import time

import django


def main(rate: float, count: int, seed: int, kind: str) -> None:
    django.setup()
    from django.conf import settings
    from django.db import transaction

    from benchmarks.filling import NOTE
    from benchmarks.messages import SERVICE
    from benchmarks.saga_messages import OrderTaken, OrderTakenInBatch
    from benchmarks.stage import COUNTERS
    from messaging import outbox
    from messaging.envelope import new_message_id
    from messaging.unit_of_work import unit_of_work

    taken = {start.__name__: start for start in (OrderTaken, OrderTakenInBatch)}[kind]
    chance = random.Random(seed)
    database = settings.SERVICES[SERVICE]
    committed: dict[str, float] = {}
    due = time.monotonic()
    for number in range(count):
        due += chance.expovariate(rate)  # arrivals that know nothing of one another
        time.sleep(max(0.0, due - time.monotonic()))
        order_id = new_message_id()
        order = taken(order_id=order_id, counter=number % COUNTERS, is_deliverable=True, note=NOTE)
        with transaction.atomic(using=database):
            with unit_of_work(SERVICE, correlation_id=str(order_id)):
                outbox.publish(order, stream=f"order-{order_id}", version=1)
            committed[str(order_id)] = time.time()
    sys.stdout.write(json.dumps(committed) + "\n")


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
