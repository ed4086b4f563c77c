"""`make test`: the whole suite, on servers of its own."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from launcher import chromium, interruption, ports
from launcher import environment as environments
from launcher import instance as instances
from launcher.bringing_up import servers_running
from launcher.console import Console
from launcher.servers import NAMED_SERVERS
from launcher.virtualenv import BENCHMARKS, DEVELOPMENT, RUNTIME, of_benchmarks

ENV_FILE = "MAKEGOOD_ENV_FILE"
INTERRUPTED_GRACE = 60
SECOND_HALF = ("tests/system",)
"""The tests that stop, freeze and cut servers."""


def run_suite(root: Path, given: Mapping[str, str], arguments: Sequence[str]) -> int:
    """Run pytest and return its exit code; the servers are stopped whatever happens.

    The whole suite is run in two halves at once, each on servers of its own, since the tests of one half stop theirs.
    What the second half has to say is shown at the end. Where servers are named in the environment, or arguments are
    given, there is one run.
    """
    if arguments or any(given.get(name) for name in NAMED_SERVERS):
        return _run(instances.test(root), given, arguments)
    with _second_half(root, given) as second:
        first_code = _run(
            instances.test(root),
            given,
            [f"--ignore={folder}" for folder in SECOND_HALF],
            once_running=second.begin,
        )
        return first_code or second.finish()


def run_second_half(root: Path, given: Mapping[str, str]) -> int:
    """The half that `run_suite` leaves out."""
    return _run(instances.test(root, beside=True), given, SECOND_HALF)


class _Half:
    """The second half of the suite, in a launcher of its own whose output is kept until it is over."""

    def __init__(self, root: Path, given: Mapping[str, str], log: TextIO) -> None:
        self._root = root
        self._given = given
        self._log = log
        self._program: subprocess.Popen[str] | None = None

    def begin(self) -> None:
        self._program = subprocess.Popen(
            [sys.executable, "-m", "launcher", "test-second-half"],
            cwd=self._root,
            env={**self._given},
            stdout=self._log,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self) -> int:
        """Wait for its end, show what it said, and return its exit code."""
        if self._program is None:
            return 0
        code = wait_for(self._program)
        self._log.seek(0)
        sys.stdout.write(self._log.read())
        sys.stdout.flush()
        return code

    def end(self) -> None:
        """Where it still runs, let it stop its servers and end."""
        if self._program is not None and self._program.poll() is None:
            self._program.send_signal(signal.SIGTERM)
            self.finish()


@contextmanager
def _second_half(root: Path, given: Mapping[str, str]) -> Iterator[_Half]:
    with tempfile.TemporaryFile("w+") as log:
        half = _Half(root, given, log)
        try:
            yield half
        finally:
            half.end()


def _run(
    instance: instances.Instance,
    given: Mapping[str, str],
    arguments: Sequence[str],
    *,
    once_running: Callable[[], None] = lambda: None,
) -> int:
    root, console = instance.root, Console()
    browser: list[str] = []

    def find_browser() -> None:
        found = chromium.provide(given, explain=console.say)
        browser.extend([found] if found else [])

    def prepare() -> None:
        find_browser()
        of_benchmarks(root, explain=console.say).provide(BENCHMARKS)

    with (
        instance.held(),
        servers_running(instance, given, console, RUNTIME, DEVELOPMENT, besides=prepare) as (
            virtualenv,
            servers,
        ),
    ):
        environment = environments.for_services(
            instance, servers, given, gateway_port=ports.any_free(), flower_port=None, demonstration=True
        )
        environments.write(instance.env_file, environment)
        once_running()
        extra = {ENV_FILE: str(instance.env_file)} | ({"CHROMIUM": browser[0]} if browser else {})
        argv = [str(virtualenv.python), "-m", "pytest", *arguments]
        return in_foreground(argv, root, {**os.environ, **extra})


def in_foreground(argv: Sequence[str], root: Path, environment: Mapping[str, str]) -> int:
    """In the terminal's own process group, so that Ctrl-C reaches the program too, which tears down and ends."""
    with subprocess.Popen(argv, cwd=root, env=dict(environment)) as program:
        return wait_for(program)


def wait_for(program: subprocess.Popen[Any]) -> int:
    """The exit code of a program that is told when this one is to end."""

    def is_over() -> bool:
        return program.poll() is not None

    interruption.wait_until(
        lambda: is_over() or interruption.is_requested(), timeout=float("inf"), is_interruptible=False
    )
    if not is_over():
        program.send_signal(signal.SIGINT)
        if not interruption.wait_until(is_over, timeout=INTERRUPTED_GRACE, is_interruptible=False):
            program.kill()
    return program.wait()
