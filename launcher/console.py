"""One readable log of many processes: a prefix and a colour each, whole lines only."""

import os
import sys
import threading
from collections.abc import Iterable
from typing import TextIO

from launcher import interruption

OWN = "makegood"
COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)


class Console:
    """Prints `name | line`. Colours only on a terminal, and never where NO_COLOR is set."""

    def __init__(self, names: Iterable[str] = (), *, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.names = [OWN, *names]
        self.width = max(len(name) for name in self.names)
        self.is_coloured = self.stream.isatty() and "NO_COLOR" not in os.environ
        self._lock = threading.Lock()

    def say(self, line: str) -> None:
        """A line of the launcher itself."""
        self.print(OWN, line)

    def print(self, name: str, line: str) -> None:
        """A line of a process; blank ones are left out."""
        if not line.strip():
            return
        prefix = f"{name:<{self.width}} |"
        if self.is_coloured:
            prefix = f"\x1b[{self._colour(name)}m{prefix}\x1b[0m"
        with self._lock:
            try:
                self.stream.write(f"{prefix} {line}\n")
                self.stream.flush()
            except (BrokenPipeError, ValueError):
                interruption.request()  # Nobody reads any more (`make up | head`): stop in good order.

    def _colour(self, name: str) -> int:
        return (
            1
            if name == OWN
            else COLOURS[(self.names.index(name) if name in self.names else 0) % len(COLOURS)]
        )
