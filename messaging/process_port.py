"""The HTTP port of a process that works in the background: `/metrics`, `/healthz`, `/readyz`.

It is opened after the process has forked its children, and a child that is forked later closes it at once: a port that
outlived its process would keep the next one from it. With PROCESS_PORT empty or 0 there is none.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg2
from django.conf import settings
from django.db import connections
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from messaging import metrics, vitality
from messaging.metrics_access import refusal

log = logging.getLogger(__name__)

_BETWEEN_TRIES = 5.0
"""Seconds until a port that somebody else holds is tried again."""
_LOOK_AGAIN_AFTER = 2.0
"""Seconds that an answer of the databases holds, however often it is asked for."""
_JSON = "application/json"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], databases: Sequence[str]) -> None:
        super().__init__(address, _Answers)
        self._databases = databases
        self._looked_at = 0.0
        self._missing: list[str] = []
        self._looking = threading.Lock()
        os.register_at_fork(after_in_child=self.socket.close)

    def missing(self) -> list[str]:
        """What this process lacks to work, as sentences."""
        with self._looking:
            if time.monotonic() - self._looked_at > _LOOK_AGAIN_AFTER:
                silent = [alias for alias in self._databases if not _answers(alias)]
                self._missing = [f"the database {alias} does not answer" for alias in silent]
                self._looked_at = time.monotonic()
            return [*self._missing, *vitality.unready(), *vitality.stalled(longest=settings.PROCESS_STALL)]


class _Answers(BaseHTTPRequestHandler):
    server: _Server
    timeout = 5

    def do_GET(self) -> None:
        """Answer one of the three addresses."""
        match self.path.partition("?")[0]:
            case "/metrics":
                self._metrics()
            case "/healthz":
                stalled = vitality.stalled(longest=settings.PROCESS_STALL)
                self._status("stalled" if stalled else "alive", stalled)
            case "/readyz":
                missing = self.server.missing()
                self._status("not ready" if missing else "ready", missing)
            case _:
                self._send(404, _JSON, b'{"status": "there are /metrics, /healthz and /readyz"}')

    def _metrics(self) -> None:
        reason = refusal(self.client_address[0], self.headers.get)
        if reason is None:
            self._send(200, CONTENT_TYPE_LATEST, generate_latest(metrics.REGISTRY))
        else:
            self._send(403, "text/plain; charset=utf-8", f"{reason}\n".encode())

    def _status(self, status: str, missing: list[str]) -> None:
        body = json.dumps({"status": status, "missing": missing}).encode()
        self._send(503 if missing else 200, _JSON, body)

    def _send(self, code: int, content_type: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a probe every few seconds is no news."""


def open_port(*, databases: Sequence[str]) -> threading.Event | None:
    """Serve the port from a thread until the returned event is set; None where no port is wanted.

    The process works whether or not its port can be had: one that is taken is tried again, and the log says so.
    """
    if not settings.PROCESS_PORT:
        return None
    stop = threading.Event()
    address = (settings.PROCESS_HOST, settings.PROCESS_PORT)
    threading.Thread(target=_serve, args=(address, databases, stop), name="process-port", daemon=True).start()
    return stop


@contextmanager
def process_port(*, databases: Sequence[str]) -> Iterator[None]:
    """Inside, the process answers on its port, if it has one."""
    stop = open_port(databases=databases)
    try:
        yield
    finally:
        if stop is not None:
            stop.set()


def _serve(address: tuple[str, int], databases: Sequence[str], stop: threading.Event) -> None:
    is_said = False
    while not stop.is_set():
        try:
            server = _Server(address, databases)
        except OSError as error:
            if not is_said:
                log.error(
                    "%s:%d cannot be listened on (%s): no /metrics, /healthz and /readyz until it can. "
                    "PROCESS_PORT gives another port.",
                    *address,
                    error,
                )
                is_said = True
            stop.wait(_BETWEEN_TRIES)
            continue
        with server:
            threading.Thread(target=_shut_down, args=(server, stop), daemon=True).start()
            server.serve_forever(poll_interval=0.5)
        return


def _shut_down(server: _Server, stop: threading.Event) -> None:
    stop.wait()
    server.shutdown()


def _answers(alias: str) -> bool:
    """Whether the database answers on a connection of its own: the process's are in other threads' hands."""
    parameters = connections[alias].get_connection_params()
    parameters.pop("cursor_factory", None)
    try:
        probe = psycopg2.connect(**{**parameters, "connect_timeout": 2})
        try:
            with probe.cursor() as cursor:
                cursor.execute("SELECT 1")
        finally:
            probe.close()
    except psycopg2.Error:
        return False
    return True
