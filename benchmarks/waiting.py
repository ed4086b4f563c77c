"""Waiting for a condition, closely enough to be timed by it."""

import time
from collections.abc import Callable

from benchmarks.errors import BenchmarkError

PACE = 0.01


def wait_until(condition: Callable[[], bool], *, what: str, timeout: float, every: float = PACE) -> float:
    """Ask until the condition holds; returns the moment by `time.perf_counter`."""
    until = time.perf_counter() + timeout
    while not condition():
        if time.perf_counter() > until:
            raise BenchmarkError(f"Waited {timeout:g} s in vain for {what}.")
        time.sleep(every)
    return time.perf_counter()
