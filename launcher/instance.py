"""One set of servers and processes: `up` for the shop, `test` for the suite, `bench`, in folders of .dev/."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import LauncherError
from launcher.identity import ProcessIdentity
from launcher.state import State, write_private

LAUNCHER = "launcher"
BENCHMARKS = ("bench", "bench_large")
"""The virtual hosts that the benchmarks use."""


class Busy(LauncherError):
    """Another command holds the instance."""


@dataclass(frozen=True)
class Secrets:
    """Random once, then kept, since the servers' data was made with them."""

    secret_key: str
    postgres_password: str
    rabbitmq_password: str
    erlang_cookie: str


@dataclass(frozen=True)
class Instance:
    root: Path
    name: str
    env_file: Path
    vhosts: tuple[str, ...]

    @property
    def directory(self) -> Path:
        return self.root / ".dev" / self.name

    @property
    def state(self) -> State:
        return State(self.directory)

    def secrets(self) -> Secrets:
        path = self.directory / "secrets.json"
        if not path.exists():
            fresh = {name: secrets.token_hex(24) for name in Secrets.__dataclass_fields__}
            write_private(path, json.dumps(fresh, indent=2) + "\n")
        return Secrets(**json.loads(path.read_text()))

    def holder(self) -> ProcessIdentity | None:
        """The launcher that runs this instance now; None when there is none."""
        return self.state.identity(LAUNCHER)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other launcher from this instance meanwhile. Raises Busy when one has it.

        The system gives the lock back when a launcher dies, so that a killed one never blocks the next.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "launcher.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = self.holder()
                who = f" (pid {holder.pid})" if holder else ""
                stop = "make down" if self.name == "up" else "Ctrl-C where it runs"
                raise Busy(f"`make {self.name}` runs already{who}. To stop it: {stop}") from None
            self.state.remember(LAUNCHER, ProcessIdentity.of(os.getpid()))
            try:
                yield
            finally:
                if self.directory.exists():
                    self.state.remember(LAUNCHER, None)


def up(root: Path) -> Instance:
    return Instance(root, "up", env_file=root / ".dev" / "services.env", vhosts=("makegood",))


def test(root: Path, *, beside: bool = False) -> Instance:
    """The suite's, or the one `beside` it, for tests that run at the same time."""
    name = "test-beside" if beside else "test"
    return Instance(
        root,
        name,
        env_file=root / ".dev" / name / "services.env",
        vhosts=("makegood", "suite", *BENCHMARKS),
    )


def bench(root: Path) -> Instance:
    return Instance(
        root, "bench", env_file=root / ".dev" / "bench" / "services.env", vhosts=("makegood", *BENCHMARKS)
    )


def chaos(root: Path) -> Instance:
    return Instance(root, "chaos", env_file=root / ".dev" / "chaos" / "services.env", vhosts=("makegood",))
