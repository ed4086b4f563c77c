"""Makegood's processes: what each is called, run as, and when it is stopped."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.environment import WORKERS

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
    base = {**os.environ, **environment, "PYTHONUNBUFFERED": "1"}

    def process(name: str, *argv: str, stage: int, **extra: str) -> Process:
        return Process(name, (interpreter, *argv), {**base, **extra}, root, stage)

    workers = [
        process(
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
        process(RELAY, "manage.py", "relay", stage=3),
        process(ORCHESTRATOR, "manage.py", "orchestrator", stage=2),
        process(COLLECTOR, "manage.py", "collect_dead_letters", stage=2),
        *workers,
        # It keeps its schedule in memory and needs no file of its own.
        process(BEAT, *("-m", "celery", "-A", "project", "beat", "--pidfile="), stage=0),
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
