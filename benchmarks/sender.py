"""Sends commands at a steady rate, as a service does: `python -m benchmarks.sender RATE COUNT SEED`.

Prints, as JSON, when each was committed: the clock is read when all is written and only COMMIT is left.
"""

import json
import random
import sys
import time
from uuid import UUID

import django


def main(rate: float, count: int, seed: int) -> None:
    django.setup()
    from django.conf import settings
    from django.db import transaction

    from benchmarks.messages import SERVICE, NoteStart
    from messaging import outbox
    from messaging.unit_of_work import unit_of_work

    chance = random.Random(seed)
    database = settings.SERVICES[SERVICE]
    committed: dict[str, float] = {}
    due = time.monotonic()
    for _ in range(count):
        due += chance.expovariate(rate)  # arrivals that know nothing of one another
        time.sleep(max(0.0, due - time.monotonic()))
        marker = UUID(int=chance.getrandbits(128), version=4)
        with transaction.atomic(using=database):
            with unit_of_work(SERVICE):
                outbox.send(NoteStart(marker=marker))
            committed[str(marker)] = time.time()
    sys.stdout.write(json.dumps(committed) + "\n")


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
