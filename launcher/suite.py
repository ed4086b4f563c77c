"""`make test`: the whole suite, on servers of its own."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher import chromium, interruption, ports
from launcher import environment as environments
from launcher import instance as instances
from launcher.bringing_up import servers_running
from launcher.console import Console
from launcher.virtualenv import BENCHMARKS, DEVELOPMENT, RUNTIME, of_benchmarks

ENV_FILE = "MAKEGOOD_ENV_FILE"
INTERRUPTED_GRACE = 60


def run_suite(root: Path, given: Mapping[str, str], arguments: Sequence[str]) -> int:
    """Run pytest and return its exit code; the servers are stopped whatever happens."""
    instance = instances.test(root)
    console = Console()
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
        extra = {ENV_FILE: str(instance.env_file)} | ({"CHROMIUM": browser[0]} if browser else {})
        argv = [str(virtualenv.python), "-m", "pytest", *arguments]
        return in_foreground(argv, root, {**os.environ, **extra})


def in_foreground(argv: Sequence[str], root: Path, environment: Mapping[str, str]) -> int:
    """In the terminal's own process group, so that Ctrl-C reaches the program too, which tears down and ends."""
    with subprocess.Popen(argv, cwd=root, env=dict(environment)) as program:

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
