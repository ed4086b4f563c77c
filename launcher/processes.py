"""Makegood's processes: what each is called, run as, where it answers, and when it is stopped."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.environment import WORKERS
from launcher.ports import LOOPBACK, several_free
from launcher.state import write_private

MOST_PROCESSES = 20
"""How many may have a port of their own."""
WEB, GATEWAY, FLOWER, BEAT = "web", "gateway", "flower", "beat"
RELAY, ORCHESTRATOR, COLLECTOR = "relay", "orchestrator", "collector"


@dataclass(frozen=True)
class Process:
    """`environment` is complete. Processes of one `stage` are stopped together, lower stages first."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    stage: int

    @property
    def port(self) -> int | None:
        """Where it answers /metrics, /healthz and /readyz; None where it does not."""
        variable = "PORT" if self.name == WEB else "PROCESS_PORT"
        return int(self.environment.get(variable) or 0) or None


def worker(service: str) -> str:
    """The name of a service's worker process."""
    return f"{service}-worker"


def process_table(
    root: Path,
    environment: Mapping[str, str],
    *,
    web_port: int,
    flower_port: int,
    gateway_port: int,
    gateway_books: Path,
    python: Path | None = None,
) -> tuple[Process, ...]:
    """Every process of the shop, by the environment that `environment.for_services` made.

    `gateway_books` is the file of the payment gateway simulator; `python` is the virtualenv's unless given.
    The order is that of starting. What comes in first is stopped first: the web, then the workers, and so on.
    """
    interpreter = str(python or root / ".venv" / "bin" / "python")
    base = {**os.environ, **environment, "PYTHONUNBUFFERED": "1", "PROCESS_PORT": ""}
    free_ports = iter(several_free(MOST_PROCESSES))

    def process(name: str, *argv: str, stage: int, **extra: str) -> Process:
        return Process(name, (interpreter, *argv), {**base, **extra}, root, stage)

    def background(name: str, *argv: str, stage: int, **extra: str) -> Process:
        return process(name, *argv, stage=stage, PROCESS_PORT=str(next(free_ports)), **extra)

    workers = [
        background(
            worker(service),
            *("-m", "celery", "-A", "project", "worker", "-n", f"{service}@%h"),
            stage=1,
            SERVICE=service,
            REMAP_SIGTERM="SIGQUIT",  # What cannot finish in time goes back to the queue.
        )
        for service in WORKERS
    ]
    return (
        process(
            GATEWAY,
            *("-m", "gunicorn", "simulator.wsgi:application", "-c", "simulator/gunicorn.py"),
            stage=4,
            GATEWAY_PORT=str(gateway_port),
            GATEWAY_BOOKS=str(gateway_books),
        ),
        background(RELAY, "manage.py", "relay", stage=3),
        background(ORCHESTRATOR, "manage.py", "orchestrator", stage=2),
        background(COLLECTOR, "manage.py", "collect_dead_letters", stage=2),
        *workers,
        # It keeps its schedule in memory and needs no file of its own.
        background(BEAT, *("-m", "celery", "-A", "project", "beat", "--pidfile="), stage=0),
        process(
            WEB,
            "-m",
            "gunicorn",
            "project.wsgi",
            "-c",
            "project/gunicorn.py",
            stage=0,
            PORT=str(web_port),
        ),
        process(
            FLOWER,
            *("-m", "celery", "-A", "project", "flower", "--address=127.0.0.1", f"--port={flower_port}"),
            stage=5,
            FLOWER_PORT=str(flower_port),
        ),
    )


def write_targets(path: Path, processes: Iterable[Process]) -> None:
    """Write where each process answers /metrics, as Prometheus reads it (`file_sd_configs`)."""
    targets = [
        {"targets": [f"{LOOPBACK}:{process.port}"], "labels": {"process": process.name}}
        for process in processes
        if process.port is not None
    ]
    write_private(path, json.dumps(targets, indent=2) + "\n")
