"""Which letters belong together: those of one type that one place in our own code refused in one way."""

import hashlib
import re
from functools import lru_cache
from pathlib import Path

import msgspec

_FRAME = re.compile(r'^\s*File "(?P<path>[^"]+)", line \d+, in (?P<function>.+)$', re.MULTILINE)
_ROOT = Path(__file__).resolve().parents[2]
_FOREIGN = ("/site-packages/", "/dist-packages/", "/lib/python", "<frozen")


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """The three things that letters of a group share, and their digest."""

    type: str
    exception_class: str
    frame: str

    @property
    def digest(self) -> str:
        joined = "\x1f".join((self.type, self.exception_class, self.frame))
        return hashlib.sha256(joined.encode()).hexdigest()[:24]


def fingerprint(*, wire_type: str, exception: str, traceback: str, reason: str, service: str) -> Fingerprint:
    """The letter's fingerprint. Without a recorded failure the broker's reason and the queue take its place."""
    if not exception:
        return Fingerprint(type=wire_type, exception_class=reason or "unknown", frame=f"queue {service}")
    return Fingerprint(
        type=wire_type,
        exception_class=exception.split(":", 1)[0][:200],
        frame=own_frame(traceback) or f"queue {service}",
    )


def own_frame(traceback: str) -> str:
    """The innermost frame of our own code, as `billing/handlers.py in authorize`; empty where there is none.

    Without its line number: a release that moves the line makes no new group.
    """
    for frame in reversed(list(_FRAME.finditer(traceback))):
        path = frame["path"]
        if not any(mark in path for mark in _FOREIGN):
            return f"{_place(path)} in {frame['function'].strip()}"[:300]
    return ""


@lru_cache(maxsize=1024)
def _place(path: str) -> str:
    try:
        return str(Path(path).relative_to(_ROOT))
    except ValueError:  # recorded by a process that has the code in another folder
        return "/".join(Path(path).parts[-2:])
