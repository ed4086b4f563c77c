"""Points between two writes at which a test can have the process killed, as a power cut would.

`MAKEGOOD_FAILPOINT=relay.published` kills it the first time that point is reached, `relay.published:3` the third. With
`MAKEGOOD_FAILPOINT_ONCE` naming a file, the kill happens only while that file does not exist, and leaves it behind: a
process that is started again goes on.

`MAKEGOOD_FAILPOINTS` names a folder instead, for a shop that runs on: a file `relay.published` in it kills the first
process that comes to that point, and is renamed to `relay.published.reached`.
"""

import os
import signal
from pathlib import Path

from messaging.rehearsing import is_rehearsal

_name, _, _count = os.environ.get("MAKEGOOD_FAILPOINT", "").partition(":")
_once = os.environ.get("MAKEGOOD_FAILPOINT_ONCE", "")
_folder = os.environ.get("MAKEGOOD_FAILPOINTS", "")
_left = int(_count or 1)


def failpoint(name: str) -> None:
    """End this process without a farewell, where a test has asked for it at this point; else nothing.

    A rehearsal passes every point.
    """
    if _folder and not is_rehearsal() and _is_armed(name):
        os.kill(os.getpid(), signal.SIGKILL)
    if name != _name or is_rehearsal():
        return
    global _left
    _left -= 1
    if _left > 0:
        return
    if _once:
        try:
            Path(_once).touch(exist_ok=False)
        except FileExistsError:
            return
    os.kill(os.getpid(), signal.SIGKILL)


def _is_armed(name: str) -> bool:
    """Whether the folder has this point; of several processes that ask, one is told so."""
    try:
        os.rename(f"{_folder}/{name}", f"{_folder}/{name}.reached")
    except FileNotFoundError:
        return False
    return True
