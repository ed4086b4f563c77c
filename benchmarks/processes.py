"""What a process and its children use, from /proc."""

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """The process and all that it has started, directly or not."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))) is not None:
            parents.setdefault(int(fields[1]), []).append(int(entry))
    found = [pid]
    for member in found:
        found += parents.get(member, [])
    return found


def memory_mb(pid: int) -> float:
    """Proportional set size of the family: pages that several share are counted once."""
    return sum(map(_pss_kb, family(pid))) / 1024


def cpu_seconds(pid: int) -> float:
    """User and system time of the living family, and of the children that have ended."""
    total = 0
    for member in family(pid):
        fields = _stat(member)
        if fields is not None:
            total += sum(map(int, fields[11:15]))
    return total / _TICKS


def _pss_kb(pid: int) -> int:
    """The process's share of memory; 0 for one that has ended since it was listed."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat after the name."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
