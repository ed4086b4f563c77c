"""Whether the shop is ready, as its own /readyz says."""

import http.client
import json
from dataclasses import dataclass

from launcher.errors import LauncherError
from launcher.interruption import wait_until
from launcher.ports import LOOPBACK

TIMEOUT = 120
INTERVAL = 0.4  # Seconds: asking costs the shop work while it starts.


@dataclass(frozen=True)
class Answer:
    is_ready: bool
    text: str


def ask(port: int) -> Answer:
    """What /readyz answers now; not being reachable is an answer too."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        return Answer(response.status == 200, _compact(response.status, response.read()))
    except (OSError, http.client.HTTPException) as error:
        return Answer(False, f"the web process does not answer yet ({error})")
    finally:
        connection.close()


def wait_until_ready(port: int, *, timeout: float = TIMEOUT) -> None:
    """Raises LauncherError with what is missing when the shop is not ready after `timeout` seconds."""
    last = Answer(False, "not asked yet")

    def is_ready() -> bool:
        nonlocal last
        last = ask(port)
        return last.is_ready

    if not wait_until(is_ready, timeout=timeout, every=INTERVAL):
        raise LauncherError(f"The shop was not ready after {timeout:.0f} s. Missing: {last.text}")


def _compact(status: int, body: bytes) -> str:
    text = body.decode(errors="replace")
    try:
        return json.dumps(json.loads(text))
    except ValueError:
        return f"status {status}: {text[:300]}"
