"""The benchmarks run from end to end. What they measure on a busy machine says nothing, so no figure is judged."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest
from amqp.exceptions import AMQPError
from django.conf import settings
from kombu import Connection
from kombu.exceptions import OperationalError

from tests.conftest import unavailable
from tests.databases import Databases

ROOT = Path(__file__).resolve().parents[2]
MEASUREMENTS = {"relay", "handling", "latency", "memory", "desk", "sagas"}
"""All but `scale`, whose filling of tables takes half of the time."""


@pytest.fixture
def virtual_hosts() -> None:
    for name in ("bench", "bench_large"):
        try:
            with Connection(urlsplit(settings.BROKER_URL)._replace(path=f"/{name}").geturl()) as connection:
                connection.ensure_connection(max_retries=2, timeout=10)
        except (OSError, AMQPError, OperationalError) as error:
            unavailable(f"RabbitMQ has no virtual host `{name}` ({error}). Run the tests with: make test")


@pytest.mark.usefixtures("virtual_hosts")
def test_every_measurement_is_made_and_written_down(databases: Databases, tmp_path: Path):
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks", *sorted(MEASUREMENTS), "--quick", "--into", str(tmp_path)],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert finished.returncode == 0, finished.stdout + finished.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    measured = {figure["measurement"] for figure in results["figures"] if figure["value"] is not None}
    assert measured == MEASUREMENTS
    assert results["postgresql"]["fsync"] == "on"
    assert ElementTree.fromstring((tmp_path / "results.svg").read_text()).tag.endswith("svg")
    assert databases._names("bench_%") == [], "the databases of the run are gone"


def test_a_measurement_that_does_not_exist_is_refused_by_name(tmp_path: Path):
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks", "speed"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert finished.returncode == 2
    assert "there is no measurement 'speed'; there are relay, handling" in finished.stderr
