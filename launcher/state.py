"""What is running, on disk: so that a second command finds it, also after the launcher itself was killed."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher.identity import ProcessIdentity


@dataclass
class Record:
    """`servers` holds how each server is reached and started, `running` what runs, in order of starting."""

    servers: dict[str, dict[str, Any]] = field(default_factory=dict)
    running: dict[str, ProcessIdentity] = field(default_factory=dict)


class State:
    """The state file of one instance. Several processes may change it: each change is made under a lock."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "state.json"

    def read(self) -> Record:
        """The record as it is now; an empty one when nothing was ever started here."""
        try:
            stored = json.loads(self.path.read_text())
        except FileNotFoundError:
            return Record()
        running = {name: ProcessIdentity(*identity) for name, identity in stored["running"].items()}
        return Record(servers=stored["servers"], running=running)

    @contextmanager
    def change(self) -> Iterator[Record]:
        """Yields the record; what was changed in it is on disk afterwards, whole or not at all."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "state.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            record = self.read()
            yield record
            running = {name: [identity.pid, identity.started] for name, identity in record.running.items()}
            write_private(
                self.path, json.dumps({"servers": record.servers, "running": running}, indent=2) + "\n"
            )

    def remember(self, name: str, identity: ProcessIdentity | None) -> None:
        """Note that `name` runs as `identity`, or, with None, that it does not."""
        with self.change() as record:
            record.running.pop(name, None)
            if identity is not None:
                record.running[name] = identity

    def identity(self, name: str) -> ProcessIdentity | None:
        """The process that runs as `name`; None when it has ended or never was."""
        identity = self.read().running.get(name)
        return identity if identity is not None and identity.is_alive() else None


def write_private(path: Path, text: str) -> None:
    """Replace a file at once by one that only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
