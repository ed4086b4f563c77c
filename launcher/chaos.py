"""`make chaos`: the nemesis, on private servers that begin empty."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher import environment as environments
from launcher import instance as instances
from launcher import postgres, rabbitmq
from launcher.bringing_up import servers_running
from launcher.compose import Engine
from launcher.console import Console
from launcher.instance import Instance
from launcher.ports import any_free
from launcher.servers import BROKER_URL, DATABASE_URL
from launcher.shutdown import end_leftovers, remove_stored
from launcher.suite import ENV_FILE, in_foreground
from launcher.virtualenv import RUNTIME

STORED = (postgres.NAME, rabbitmq.NAME, "emails")
NO_ENGINE = Engine(None, "the nemesis needs the servers' own processes")


def run_chaos(root: Path, given: Mapping[str, str], arguments: Sequence[str]) -> int:
    """Run the ordeal and return its exit code; the servers are stopped whatever happens.

    Servers given by their URLs are not used: they are not ours to kill.
    """
    instance = instances.chaos(root)
    console = Console()
    own = {
        name: value
        for name, value in given.items()
        if name not in (DATABASE_URL, BROKER_URL, *environments.GIVEN)
    }
    with instance.held():
        end_leftovers(instance, explain=console.say)
        _begin_anew(instance)
        with servers_running(instance, own, console, RUNTIME, engine=NO_ENGINE) as (virtualenv, servers):
            environment = environments.for_services(
                instance, servers, own, gateway_port=any_free(), flower_port=None, demonstration=True
            )
            environments.write(instance.env_file, environment)
            argv = [str(virtualenv.python), "-m", "chaos", *arguments]
            return in_foreground(argv, root, {**own, ENV_FILE: str(instance.env_file)})


def _begin_anew(instance: Instance) -> None:
    """Remove what an earlier run has stored, so that every figure is this run's. The reports stay."""
    remove_stored(instance)
    for name in STORED:
        shutil.rmtree(instance.directory / name, ignore_errors=True)
    for books in instance.directory.glob("gateway.sqlite3*"):
        books.unlink()
    with instance.state.change() as record:
        record.servers.clear()
