"""`make bench`: the measurements, on servers of their own."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher import environment as environments
from launcher import instance as instances
from launcher import ports
from launcher.bringing_up import servers_running
from launcher.console import Console
from launcher.suite import ENV_FILE, in_foreground
from launcher.virtualenv import RUNTIME, provide_peers


def run_benchmarks(root: Path, given: Mapping[str, str], arguments: Sequence[str]) -> int:
    """Run the benchmarks and return their exit code; the servers are stopped whatever happens."""
    instance = instances.bench(root)
    console = Console()
    with (
        instance.held(),
        servers_running(
            instance,
            given,
            console,
            RUNTIME,
            besides=lambda: provide_peers(root, explain=console.say),
        ) as (virtualenv, servers),
    ):
        environment = environments.for_services(
            instance, servers, given, gateway_port=ports.any_free(), flower_port=None, demonstration=True
        )
        environments.write(instance.env_file, environment)
        return in_foreground(
            [str(virtualenv.python), "-m", "benchmarks", *arguments],
            root,
            {**os.environ, ENV_FILE: str(instance.env_file)},
        )
