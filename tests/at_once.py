"""Threads that begin at the same moment."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connections

PATIENCE = 120
"""Seconds after which what has not ended is taken to hang."""


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """What the actions return, in their order: each in a thread with database connections of its own.

    Raises the error of the first that failed, once all have ended.
    """
    start = threading.Barrier(len(actions))

    def run(action: Callable[[], Any]) -> Any:
        try:
            start.wait(timeout=PATIENCE)
            return action()
        finally:
            connections.close_all()

    threads = ThreadPoolExecutor(len(actions))
    running = [threads.submit(run, action) for action in actions]
    threads.shutdown(wait=False)
    for one in running:
        one.exception(timeout=PATIENCE)
    return [one.result() for one in running]
