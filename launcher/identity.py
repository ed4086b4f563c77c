"""Which process a number in a file means: its pid and its start time together, since pids are used again."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from launcher.interruption import wait_until

# Children started without a `Popen`, which nobody else would reap.
unattended_children: set[int] = set()


class ProcessRow(NamedTuple):
    """What /proc/<pid>/stat says; `started` is in clock ticks since boot."""

    pid: int
    condition: str
    parent: int
    group: int
    started: int


@dataclass(frozen=True)
class ProcessIdentity:
    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The identity of the process that has `pid` now; None when there is none."""
        row = read_process(pid)
        return cls(pid, row.started) if row else None

    def is_alive(self) -> bool:
        """Whether this very process still runs. A zombie does not."""
        row = read_process(self.pid)
        if row is None or row.started != self.started:
            return False
        if row.condition in "ZX":
            _reap(self.pid)
            return False
        return True

    def signal(self, number: int) -> bool:
        """Send a signal to this process and no other; False when it has ended."""
        if not self.is_alive():
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def children(self) -> list["ProcessIdentity"]:
        return [ProcessIdentity(row.pid, row.started) for row in processes() if row.parent == self.pid]

    def group(self) -> list["ProcessIdentity"]:
        """The living members of the process group that this process leads or led."""
        leader = read_process(self.pid)
        if leader is not None and leader.started != self.started:
            return []  # The number belongs to another process now, and so would a group of that number.
        return [
            ProcessIdentity(row.pid, row.started)
            for row in processes()
            if row.group == self.pid and row.started >= self.started and row.condition not in "ZX"
        ]


def read_process(pid: int) -> ProcessRow | None:
    """The row of a process, zombies included; None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # The name before it may hold blanks and parentheses.
    return ProcessRow(pid, fields[0], int(fields[1]), int(fields[2]), int(fields[19]))


def processes() -> Iterator[ProcessRow]:
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (row := read_process(int(entry))):
            yield row


def end_group(leader: ProcessIdentity, *, with_signal: int = signal.SIGTERM, grace: float) -> None:
    """End a process and its group: the leader is asked first, what is left after `grace` seconds is killed.

    Afterwards none of the group runs. Only the leader gets `with_signal`: it knows how to end its children.
    """
    if leader.signal(with_signal):
        wait_until(lambda: not leader.is_alive(), timeout=grace, is_interruptible=False)
    for member in leader.group():
        member.signal(signal.SIGKILL)
    wait_until(lambda: not leader.group(), timeout=10, is_interruptible=False)


def _reap(pid: int) -> None:
    if pid in unattended_children:
        unattended_children.discard(pid)
        os.waitpid(pid, os.WNOHANG)
