"""Ctrl-C and SIGTERM, as a flag that everything which waits looks at.

A handler that raised could end the clean-up halfway, and one that set a `threading.Event` could deadlock with
a wait on it in the main thread; so the handler sets a plain flag and waiting is done in short slices.
"""

import signal
import time
from collections.abc import Callable
from types import FrameType

from launcher.errors import Interrupted

SLICE = 0.05

_is_requested = False


def listen() -> None:
    """From now on SIGINT, SIGTERM and SIGHUP end the next interruptible wait instead of the process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _note)


def request() -> None:
    """Do as if SIGTERM had arrived."""
    global _is_requested
    _is_requested = True


def is_requested() -> bool:
    return _is_requested


def check() -> None:
    """Raise Interrupted if an interruption was requested."""
    if _is_requested:
        raise Interrupted


def wait_until(
    condition: Callable[[], bool], *, timeout: float, is_interruptible: bool = True, every: float = SLICE
) -> bool:
    """Ask `every` so many seconds until `condition` holds; False when it did not within `timeout` seconds.

    Raises Interrupted when an interruption is requested meanwhile; clean-up passes is_interruptible=False.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if is_interruptible:
            check()
        if time.monotonic() >= deadline:
            return False
        time.sleep(every)
    return True


def _note(number: int, frame: FrameType | None) -> None:
    request()
