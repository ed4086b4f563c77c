"""`python -m tests.simulation [--histories N] [--seed FIRST] [--trace]`: histories of sagas, over all processors."""

import argparse
import gc
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

EXPECTED = (
    "completed",
    "cancelled",
    "waits for a person",
    "mended",
    "two sagas",
    "crash",
    "repeated",
    "dead letter",
    "replay",
    "discard",
    "question",
    "compensation",
    "parallel compensations",
    "outside",
    "outside early",
    "switch",
    "withheld",
    "action:PauseSaga",
    "action:ResumeSaga",
    "action:RetryStep",
    "action:SkipStep",
    "action:CancelSaga",
    "action:MarkUndone",
)
"""A run of many histories in which one of these never happened proves less than it says."""


def set_up() -> None:
    """Django without a server: settings are read, and no database is asked."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.architecture.offline_settings")
    import django

    django.setup()
    gc.freeze()  # Django and the tables stay: nobody has to look through them for garbage


def part(first: int, histories: int) -> Counter[str]:
    from tests.simulation.histories import run_many

    return run_many(first, histories)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--histories", type=int, default=100_000)
    parser.add_argument(
        "--seed", type=int, default=0, help="of the first history; each next one has the next"
    )
    parser.add_argument("--trace", action="store_true", help="print what happened in each history")
    given = parser.parse_args()
    set_up()
    if given.trace:
        return _trace(given.seed, given.histories)
    began = time.monotonic()
    processes = os.cpu_count() or 1
    share = -(-given.histories // processes)
    firsts = range(given.seed, given.seed + given.histories, share)
    last = given.seed + given.histories
    with ProcessPoolExecutor(processes, initializer=set_up) as pool:
        parts = [pool.submit(part, first, min(share, last - first)) for first in firsts]
        try:
            seen = sum((done.result() for done in parts), Counter[str]())
        except AssertionError as failed:
            sys.stdout.write(f"{failed}\n")
            return 1
    seconds = time.monotonic() - began
    sys.stdout.write(
        f"{given.histories} histories from seed {given.seed} in {seconds:.0f} s, every promise kept:\n"
    )
    sys.stdout.writelines(f"  {count:>9} {name}\n" for name, count in sorted(seen.items()))
    missing = [name for name in EXPECTED if not seen[name]]
    if missing and given.histories >= 10_000:
        sys.stdout.write(f"never seen: {', '.join(missing)}\n")
        return 1
    return 0


def _trace(first: int, histories: int) -> int:
    from tests.simulation.histories import Failed, run

    for seed in range(first, first + histories):
        try:
            worlds = run(seed)
        except Failed as failed:
            sys.stdout.write(f"{failed}\n")
            return 1
        told = "\n  ".join(line for world in worlds for line in world.trace())
        sys.stdout.write(f"history {seed} of {worlds[0].definition.name}:\n  {told}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
