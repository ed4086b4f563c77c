"""A real gateway process for the tests: gunicorn on a free loopback port, its books in a temporary folder."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3

ROOT = Path(__file__).resolve().parents[3]
SHOP = "http://shop.example"
START_SECONDS = 20


class GatewayProcess:
    """One running gateway. Starting it again after `kill` opens the same books."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.books = folder / "books.sqlite3"
        self.log = folder / "gateway.log"
        self._settings = settings
        self._pool = urllib3.PoolManager(maxsize=64, retries=False, timeout=10)
        self.start()

    def start(self) -> None:
        """Returns once the gateway answers."""
        self.url = f"http://127.0.0.1:{_free_port()}"
        command = ["gunicorn", "simulator.wsgi:application", "-c", "simulator/gunicorn.py"]
        environment = {
            **os.environ,
            "GATEWAY_PORT": self.url.rsplit(":", 1)[1],
            "GATEWAY_BOOKS": str(self.books),
            "GATEWAY_ALLOWED_ORIGINS": SHOP,
            **self._settings,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self.process.poll() is None, f"the gateway ended at its start:\n{self.log.read_text()}"
            assert time.monotonic() < deadline, f"the gateway does not answer:\n{self.log.read_text()}"
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            return self.get("/healthz").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def kill(self) -> None:
        """`kill -9` of the master and its worker at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self._pool.clear()
        if self.process.poll() is None:
            self.kill()

    def get(self, path: str, **headers: str) -> urllib3.BaseHTTPResponse:
        return self._pool.request("GET", self.url + path, headers=headers)

    def request(self, method: str, path: str, **options: Any) -> urllib3.BaseHTTPResponse:
        return self._pool.request(method, self.url + path, **options)

    def post(self, path: str, key: str | None = None, **body: Any) -> urllib3.BaseHTTPResponse:
        headers = {} if key is None else {"Idempotency-Key": key}
        return self._pool.request("POST", self.url + path, body=json.dumps(body).encode(), headers=headers)

    def authorize(
        self,
        token: str = "tok_visa",
        *,
        amount: int = 1250,
        key: str | None = None,
        reference: str = "an order",
    ) -> urllib3.BaseHTTPResponse:
        return self.post(
            "/v1/authorizations",
            key or a_key(),
            token=token,
            amount=amount,
            currency="EUR",
            reference=reference,
        )

    def authorized(self, token: str = "tok_visa", *, amount: int = 1250, key: str | None = None) -> str:
        """The id of a fresh authorization."""
        response = self.authorize(token, amount=amount, key=key)
        assert response.status == 200, response.data
        return str(response.json()["id"])

    def capture(
        self, authorization: str, *, amount: int = 1250, key: str | None = None
    ) -> urllib3.BaseHTTPResponse:
        return self.post(
            "/v1/captures", key or a_key(), authorization=authorization, amount=amount, currency="EUR"
        )

    def entries(self, reference: str) -> list[dict[str, Any]]:
        """The entries of the books with this reference."""
        found, after = [], ""
        while after is not None:
            page = self.get(f"/v1/books?after={after}").json()
            found += [entry for entry in page["entries"] if entry["reference"] == reference]
            after = page["next"]
        return found

    @contextmanager
    def faults(self, **faults: float) -> Iterator[None]:
        """The faults hold inside the block."""
        response = self.request("PUT", "/v1/faults", body=json.dumps(faults).encode())
        assert response.status == 200, response.data
        try:
            yield
        finally:
            self.request("PUT", "/v1/faults", body=b"{}")


def a_key() -> str:
    return f"test:{uuid.uuid4()}"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    process = GatewayProcess(tmp_path_factory.mktemp("gateway"))
    yield process
    process.stop()


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[Callable[..., GatewayProcess]]:
    """Starts a gateway for one test, with settings of its own."""
    started: list[GatewayProcess] = []

    def start(**settings: str) -> GatewayProcess:
        folder = tmp_path / f"gateway-{len(started)}"
        folder.mkdir()
        started.append(GatewayProcess(folder, **settings))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def key() -> str:
    """An idempotency key of the test's own; also good as a reference."""
    return a_key()
