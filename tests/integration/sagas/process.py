"""The orchestrator as a process of its own, started again whenever it dies."""

import os
import subprocess
import sys
from pathlib import Path

from django.db import connections

from launcher import environment as environments

ROOT = Path(__file__).resolve().parents[3]


class RestartedProcess:
    """Runs until it is stopped; `tend` is to be called again and again."""

    def __init__(self, *argv: str, log: Path, broker_url: str, **more: str) -> None:
        url = environments.read(Path(os.environ["MAKEGOOD_ENV_FILE"]))["DATABASE_URL"]
        self._environment = {
            **os.environ,
            "DATABASE_URL": f"{url.rpartition('/')[0]}/{connections.settings['default']['NAME']}",
            "BROKER_URL": broker_url,
            **more,
        }
        self._argv = [sys.executable, *argv]
        self._log = log.open("ab")
        self.deaths = 0
        self._process = self._start()

    def tend(self) -> None:
        """Start it again where it has been killed; anything else that ends it fails the test."""
        code = self._process.poll()
        if code is None:
            return
        assert code == -9, f"it ended with {code}; see {self._log.name}"
        self.deaths += 1
        self._process = self._start()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=60)
        self._log.close()

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            self._argv, cwd=ROOT, env=self._environment, stdout=self._log, stderr=subprocess.STDOUT
        )
