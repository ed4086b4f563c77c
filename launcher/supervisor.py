"""Keeps processes running, each in a group of its own, and ends them so that nothing is left behind.

with Supervisor(process_table(...), sink=log) as shop:
    shop.start()
    old = shop.kill("relay")
    shop.wait_for_new("relay", after=old)
"""

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from launcher.errors import LauncherError
from launcher.identity import ProcessIdentity, end_group
from launcher.interruption import wait_until
from launcher.processes import Process

Sink = Callable[[str, str], None]
Remember = Callable[[str, ProcessIdentity | None], None]

SHORTEST_DELAY = 0.5
LONGEST_DELAY = 30.0
STEADY_AFTER = 30.0
GRACE = 30.0


def restart_delay(failures: int) -> float:
    """Seconds to wait before a process is started again after so many failures in a row (1 or more)."""
    return min(LONGEST_DELAY, SHORTEST_DELAY * 2.0 ** (min(failures, 20) - 1))


def describe_end(code: int) -> str:
    """How a process ended, from its exit code (negative: the signal)."""
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was ended by {signal.Signals(-code).name}"


def _forget(name: str, identity: ProcessIdentity | None) -> None:
    """Nobody else needs to find these processes."""


class Supervisor:
    """`sink(name, line)` gets every line that a process writes, and what the supervisor has to say about it.

    `remember(name, identity)` is told what runs, so that another command can end it (see `State.remember`).
    """

    def __init__(self, processes: Iterable[Process], *, sink: Sink, remember: Remember = _forget) -> None:
        self._keepers = {process.name: _Keeper(process, sink, remember) for process in processes}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._keepers)

    def start(self, *names: str) -> None:
        """Start the named processes, else all; they are started again whenever they end by themselves."""
        for keeper in self._chosen(names):
            keeper.start()

    def stop(self, *names: str, grace: float = GRACE) -> None:
        """End the named processes, else all, stage by stage: SIGTERM, and SIGKILL after `grace` seconds.

        Afterwards neither they nor anything in their groups runs.
        """
        chosen = self._chosen(names)
        for stage in sorted({keeper.process.stage for keeper in chosen}):
            together = [keeper for keeper in chosen if keeper.process.stage == stage]
            for keeper in together:
                keeper.ask_to_end()
            deadline = time.monotonic() + grace
            for keeper in together:
                keeper.end(max(0.0, deadline - time.monotonic()))

    def replace(self, *processes: Process) -> None:
        """Run these from now on instead of those of the same names, which are stopped first."""
        keepers = [self._keeper(process.name) for process in processes]
        self.stop(*(process.name for process in processes))
        for keeper, process in zip(keepers, processes, strict=True):
            keeper.process = process
            keeper.start()

    def kill(self, name: str, *, stay_down: bool = False) -> int:
        """SIGKILL a process and return the pid it had; it is started again unless `stay_down`."""
        return self._keeper(name).kill(stay_down=stay_down)

    def signal(self, name: str, number: int) -> None:
        """Send any signal (SIGSTOP, SIGCONT) to a running process, not to its children."""
        self._keeper(name).running().signal(number)

    def pid(self, name: str) -> int | None:
        """The pid of a process; None while it does not run."""
        identity = self._keeper(name).identity
        return identity.pid if identity is not None else None

    def is_running(self, name: str) -> bool:
        return self.pid(name) is not None

    def restarts(self, name: str) -> int:
        """How often a process was started again after it had ended by itself."""
        return self._keeper(name).restarts

    def wait_for_new(self, name: str, *, after: int, timeout: float = 30) -> int:
        """Wait until a process runs with another pid than `after`, and return that pid."""
        if not wait_until(lambda: self.pid(name) not in (None, after), timeout=timeout):
            raise LauncherError(f"{name} was not started again within {timeout:.0f} s.")
        return self._keeper(name).running().pid

    def _keeper(self, name: str) -> "_Keeper":
        if name not in self._keepers:
            raise LauncherError(f"There is no process {name!r}. There are: {', '.join(self._keepers)}")
        return self._keepers[name]

    def _chosen(self, names: tuple[str, ...]) -> list["_Keeper"]:
        return [self._keeper(name) for name in names or self._keepers]


class _Keeper:
    """Keeps one process running, from a thread of its own."""

    def __init__(self, process: Process, sink: Sink, remember: Remember) -> None:
        self.process = process
        self.identity: ProcessIdentity | None = None
        self.restarts = 0
        self._sink = sink
        self._remember = remember
        self._changed = threading.Condition()
        self._is_wanted = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        with self._changed:
            if self._is_wanted:
                return
            self._is_wanted = True
        if self._thread is not None:
            self._thread.join()
        popen = self._spawn()
        self._thread = threading.Thread(target=self._keep, args=(popen,), name=self.process.name, daemon=True)
        self._thread.start()

    def ask_to_end(self) -> None:
        with self._changed:
            self._is_wanted = False
            self._changed.notify_all()
            identity = self.identity
        if identity is not None:
            identity.signal(signal.SIGTERM)
            identity.signal(signal.SIGCONT)  # A stopped process would not hear it.

    def end(self, grace: float) -> None:
        if self._thread is None:
            return
        self._thread.join(grace)
        if self._thread.is_alive():
            self._sink(self.process.name, f"did not end within its time; killing it (pid {self.pid_text})")
            if self.identity is not None:
                self.identity.signal(signal.SIGKILL)
            self._thread.join()

    def kill(self, *, stay_down: bool) -> int:
        with self._changed:
            identity = self.running()
            if stay_down:
                self._is_wanted = False
            identity.signal(signal.SIGKILL)
        if stay_down and self._thread is not None:
            self._thread.join()
        return identity.pid

    def running(self) -> ProcessIdentity:
        if self.identity is None:
            raise LauncherError(f"{self.process.name} does not run.")
        return self.identity

    @property
    def pid_text(self) -> str:
        return str(self.identity.pid) if self.identity is not None else "none"

    def _keep(self, popen: subprocess.Popen[bytes] | None) -> None:
        failures = 0
        while popen is not None:
            began = time.monotonic()
            code = self._see_out(popen)
            failures = 1 if time.monotonic() - began > STEADY_AFTER else failures + 1
            delay = restart_delay(failures)
            with self._changed:
                if not self._is_wanted:
                    return
                self._sink(self.process.name, f"{describe_end(code)}; starting it again in {delay:g} s")
                self._changed.wait_for(lambda: not self._is_wanted, timeout=delay)
            popen = self._spawn()
            self.restarts += popen is not None

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        """Start the process; None when it is not wanted any more."""
        with self._changed:
            if not self._is_wanted:
                return None
            popen = subprocess.Popen(
                self.process.argv,
                env=dict(self.process.environment),
                cwd=self.process.directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self.identity = ProcessIdentity.of(popen.pid)
        self._remember(self.process.name, self.identity)
        return popen

    def _see_out(self, popen: subprocess.Popen[bytes]) -> int:
        """Pass on what the process writes until it ends, then end what is left of its group."""
        leader = self.identity
        reader = threading.Thread(target=self._read, args=(popen,), daemon=True)
        reader.start()
        code = popen.wait()
        if leader is not None:
            end_group(leader, grace=0)
        reader.join(timeout=5)
        with self._changed:
            self.identity = None
        self._remember(self.process.name, None)
        return code

    def _read(self, popen: subprocess.Popen[bytes]) -> None:
        assert popen.stdout is not None
        with popen.stdout:
            for line in popen.stdout:
                self._sink(self.process.name, line.decode(errors="replace").rstrip())
