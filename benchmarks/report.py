"""What a run leaves behind: results.json, a picture, and the table in docs/benchmarks.md."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kombu import Connection

from benchmarks.comparing import SIGNS, Figure, Outcome, quantity
from benchmarks.picture import draw
from benchmarks.scale import Scale
from benchmarks.stage import ROOT, Stage

BEGIN, END = "<!-- results: written by make bench -->", "<!-- end of results -->"
DOCUMENT = ROOT / "docs" / "benchmarks.md"
_PACKAGES = ("Celery", "kombu", "amqp", "Django", "psycopg2-binary", "msgspec")
_SETTINGS = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_level",
    "shared_buffers",
)


def facts(stage: Stage, scale: Scale, *, seconds: float) -> dict[str, Any]:
    """The machine, the versions and the servers' settings, without names of hosts or paths."""
    place = stage.place("small")
    postgres = {name: place.query(f"SHOW {name}")[0][0] for name in _SETTINGS}
    return {
        "scale": scale.name,
        "seconds": round(seconds),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processors": os.cpu_count(),
            "model": _model(),
            "memory_mb": _memory(),
        },
        "versions": {
            "Python": platform.python_version(),
            **{name: version(name) for name in _PACKAGES},
            "RabbitMQ": broker_version(place.broker_url),
        },
        "postgresql": postgres,
    }


def broker_version(url: str) -> str:
    with Connection(url) as connection:
        connection.connect()
        return str(connection.connection.server_properties.get("version", "?"))


def as_json(outcomes: Mapping[str, Outcome], about: Mapping[str, Any]) -> dict[str, Any]:
    figures = [figure for outcome in outcomes.values() for figure in outcome.figures]
    return {
        **about,
        "figures": [figure.to_json() for figure in figures],
        "measurements": {
            name: {
                "settings": outcome.settings,
                "series": {key: series.to_json() for key, series in outcome.series.items()},
            }
            for name, outcome in outcomes.items()
        },
    }


def table(figures: Sequence[Figure]) -> str:
    """A table that reads well both as text and as Markdown."""
    rows = [("measurement", "what", "measured", "target", "")]
    rows += [(figure.measurement, figure.name, *_cells(figure)) for figure in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def write(folder: Path, outcomes: Mapping[str, Outcome], about: Mapping[str, Any]) -> dict[str, Any]:
    """Write results.json and results.svg into the folder; returns what results.json holds."""
    results = as_json(outcomes, about)
    figures = [figure for outcome in outcomes.values() for figure in outcome.figures]
    (folder / "results.json").write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    (folder / "results.svg").write_text(draw(figures))
    return results


def publish(outcomes: Mapping[str, Outcome], about: Mapping[str, Any]) -> None:
    """Put the table of a full run into the document."""
    figures = [figure for outcome in outcomes.values() for figure in outcome.figures]
    text = DOCUMENT.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    machine, versions = (
        about["machine"],
        {**about["versions"], "PostgreSQL": about["postgresql"]["server_version"]},
    )
    programs = ", ".join(
        f"{name} {versions[name]}" for name in ("Python", "Celery", "RabbitMQ", "PostgreSQL")
    )
    line = f"{machine['processors']} processors ({machine['model']}), {machine['memory_mb']} MB; {programs}."
    DOCUMENT.write_text(f"{head}{BEGIN}\n\n{line}\n\n{table(figures)}\n\n{END}{tail}")


def _cells(figure: Figure) -> tuple[str, str, str]:
    if figure.value is None:
        return figure.detail or "not measured", _target(figure), ""
    met = {None: "", True: "met", False: "missed"}[figure.is_met]
    return quantity(figure.value, figure.unit), _target(figure), met


def _target(figure: Figure) -> str:
    if figure.target is None:
        return ""
    return f"{SIGNS[figure.comparison]} {quantity(figure.target, figure.unit)}"


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
