"""Whether this process works: each of its main loops says when it has turned, and what it waits for.

`turned` costs a dictionary lookup. Threads that watch over nothing may call it too.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_turns: dict[int, tuple[str, float]] = {}
_paused: set[int] = set()
_problems: dict[str, str] = {}


@contextmanager
def main_loop(name: str) -> Iterator[None]:
    """Inside, this thread runs a main loop of this name, which has to turn for the process to count as alive."""
    begin(name)
    try:
        yield
    finally:
        _turns.pop(threading.get_ident(), None)
        _problems.pop(name, None)


def begin(name: str) -> None:
    """This thread runs a main loop of this name from now on, until the process ends."""
    _turns[threading.get_ident()] = (name, time.monotonic())


def turned() -> None:
    """The main loop of this thread has turned; nothing where it has none."""
    ident = threading.get_ident()
    known = _turns.get(ident)
    if known is not None:
        _turns[ident] = (known[0], time.monotonic())


def pause() -> None:
    """The main loop of this thread stands still, as it should, until `go_on`."""
    _paused.add(threading.get_ident())


def go_on() -> None:
    """The main loop of this thread turns again."""
    turned()
    _paused.discard(threading.get_ident())


def waits(name: str, reason: str | None) -> None:
    """The loop of this name cannot work now, and why; None: it works."""
    if reason is None:
        _problems.pop(name, None)
    else:
        _problems[name] = reason


def stalled(*, longest: float) -> list[str]:
    """A sentence for each main loop that has not turned for so many seconds."""
    now = time.monotonic()
    return [
        f"the main loop of {name} has not turned for {now - at:.0f} s"
        for ident, (name, at) in list(_turns.items())
        if now - at > longest and ident not in _paused
    ]


def unready() -> list[str]:
    """A sentence for each loop that cannot work now."""
    return [f"{name}: {reason}" for name, reason in list(_problems.items())]
