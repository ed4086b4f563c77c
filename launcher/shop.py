"""`make up`: the whole shop in the foreground."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from launcher import environment as environments
from launcher import instance as instances
from launcher import interruption, ports
from launcher.bringing_up import servers_running
from launcher.console import Console
from launcher.environment import WORKERS
from launcher.errors import LauncherError
from launcher.processes import (
    BEAT,
    COLLECTOR,
    FLOWER,
    GATEWAY,
    ORCHESTRATOR,
    RELAY,
    WEB,
    process_table,
    worker,
    write_targets,
)
from launcher.programs import run
from launcher.readiness import wait_until_ready
from launcher.supervisor import Supervisor
from launcher.virtualenv import RUNTIME

SET_UP = "set-up"
WEB_PORT = 8000
FLOWER_PORT = 5555


def run_shop(root: Path, given: Mapping[str, str]) -> None:
    """Start everything, say where it is, and stay until Ctrl-C or SIGTERM; then stop everything."""
    began = time.monotonic()
    instance = instances.up(root)
    names = [SET_UP, WEB, GATEWAY, FLOWER, RELAY, ORCHESTRATOR, COLLECTOR, BEAT, *map(worker, WORKERS)]
    console = Console(names)
    with instance.held():
        web_port = ports.choose("PORT", given, default=WEB_PORT)
        flower_port = ports.choose("FLOWER_PORT", given, default=FLOWER_PORT)
        with servers_running(instance, given, console, RUNTIME) as (virtualenv, servers):
            gateway_port = ports.any_free()
            environment = environments.for_services(
                instance,
                servers,
                given,
                gateway_port=gateway_port,
                flower_port=flower_port,
                demonstration=True,
            )
            environments.write(instance.env_file, environment)
            console.say("setting up databases, topology and the demonstration catalogue")
            set_up = run(
                [virtualenv.python, "manage.py", "set_up", "--demonstration"],
                environment={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
                directory=root,
                sink=lambda line: console.print(SET_UP, line),
            )
            if set_up.code != 0:
                raise LauncherError(f"`manage.py set_up` ended with {set_up.code}; what it said is above.")
            table = process_table(
                root,
                environment,
                web_port=web_port,
                flower_port=flower_port,
                gateway_port=gateway_port,
                gateway_books=instance.directory / "gateway.sqlite3",
            )
            targets = instance.directory / "prometheus-targets.json"
            write_targets(targets, table)
            with Supervisor(table, sink=console.print, remember=instance.state.remember) as shop:
                shop.start()
                wait_until_ready(web_port)
                console.say(f"ready after {time.monotonic() - began:.0f} s")
                console.say(f"shop    http://127.0.0.1:{web_port}/")
                console.say(f"admin   http://127.0.0.1:{web_port}/admin/")
                console.say(f"Flower  http://127.0.0.1:{flower_port}/")
                console.say(f"metrics of each process at the addresses in {targets.relative_to(root)}")
                console.say("Ctrl-C stops everything; what is stored stays")
                interruption.wait_until(lambda: False, timeout=float("inf"))
