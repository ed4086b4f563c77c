"""The payment gateway, over HTTP: its faults, and its books."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

FAULTS = {"timeout_rate": 0.05, "error_rate": 0.2, "latency_ms": 20}
"""None of them changes how an order ends: what is declined is so because of its card alone."""
TIMEOUT = 10
PAGE = 1000


def set_faults(url: str, faults: dict[str, float]) -> None:
    """Replace the gateway's faults; an empty dictionary makes it well. Raises OSError where it does not answer."""
    _call(url, "PUT", "/v1/faults", json.dumps(faults))


def books(url: str) -> list[dict[str, Any]]:
    """Every entry of the gateway's books."""
    entries: list[dict[str, Any]] = []
    after = ""
    while True:
        answer = _call(url, "GET", f"/v1/books?limit={PAGE}{after}")
        entries.extend(answer["entries"])
        if answer["next"] is None:
            return entries
        after = f"&after={answer['next']}"


def _call(url: str, method: str, path: str, body: str | None = None) -> dict[str, Any]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        text = response.read()
    except http.client.HTTPException as error:
        raise OSError(f"the gateway's answer to {method} {path} was cut off: {error}") from error
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise OSError(f"the gateway answered {method} {path} with {response.status}: {text[:200]!r}")
    return dict(json.loads(text))
