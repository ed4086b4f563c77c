"""Other programs: run to their end, or started as a server of their own."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import LauncherError
from launcher.identity import ProcessIdentity, end_group, unattended_children
from launcher.interruption import wait_until

SHOWN = 15


@dataclass(frozen=True)
class Finished:
    code: int
    lines: tuple[str, ...]

    @property
    def tail(self) -> str:
        return "\n".join(self.lines[-SHOWN:])


def find(name: str) -> str | None:
    """The path of a program, looked for also where an ordinary user's PATH does not reach."""
    return shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")


def run(
    argv: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    timeout: float = 900,
    sink: Callable[[str], None] | None = None,
) -> Finished:
    """Run a program to its end; its output goes to `sink` line by line and is returned.

    On an interruption, or after `timeout` seconds, the program and its group are ended first; then
    Interrupted or LauncherError is raised.
    """
    command = [str(part) for part in argv]
    lines: list[str] = []
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # A Ctrl-C in the terminal is the launcher's to handle.
    )
    leader = ProcessIdentity.of(process.pid)
    assert process.stdout is not None and leader is not None

    def read() -> None:
        for line in process.stdout or ():
            lines.append(line.rstrip("\n"))
            if sink is not None:
                sink(lines[-1])

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        if not wait_until(lambda: process.poll() is not None, timeout=timeout):
            raise LauncherError(
                f"`{' '.join(command)}` did not end within {timeout:.0f} s. Run it by hand to see why."
            )
    finally:
        if process.poll() is None:
            end_group(leader, grace=5)
        process.wait()
        reader.join(timeout=5)
        process.stdout.close()
    return Finished(process.returncode, tuple(lines))


def run_or_fail(argv: Sequence[str | Path], *, purpose: str, advice: str, **options: object) -> Finished:
    """As `run`, but a program that fails raises LauncherError with its last lines and `advice`."""
    finished = run(argv, **options)  # type: ignore[arg-type]
    if finished.code != 0:
        command = " ".join(str(part) for part in argv)
        raise LauncherError(
            f"{purpose} failed: `{command}` ended with {finished.code}. {advice}\n{finished.tail}"
        )
    return finished


def spawn_server(argv: Sequence[str | Path], *, environment: Mapping[str, str], log: Path) -> ProcessIdentity:
    """Start a program in a session of its own, its output appended to `log`; it outlives the caller.

    There is no `Popen` on purpose: whoever reads the state file may end it, not only who started it.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [str(part) for part in argv]
    pid = os.posix_spawn(
        command[0],
        command,
        dict(environment),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigdef=[signal.SIGPIPE],
    )
    unattended_children.add(pid)
    identity = ProcessIdentity.of(pid)
    if identity is None:
        raise LauncherError(f"`{' '.join(command)}` ended at once. See {log}.")
    return identity


def last_lines(log: Path) -> str:
    """The end of a log, for an error message."""
    if not log.exists():
        return f"({log} does not exist)"
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-SHOWN:])
