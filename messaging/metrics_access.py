"""Who may read `/metrics`, of the web and of every other process.

With METRICS_TOKEN set, whoever shows it as `Authorization: Bearer <token>`, from anywhere, and nobody else. Without it,
this machine alone, and only where no proxy stands in front: through one, everybody comes from this machine.
"""

import ipaddress
import secrets
from collections.abc import Callable

from django.conf import settings

_OF_A_PROXY = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via")


def refusal(address: str, header: Callable[[str], str | None]) -> str | None:
    """Why this client may not read the metrics; None where it may. `header` finds a header by its name."""
    token: str = settings.METRICS_TOKEN
    if token:
        scheme, _, given = (header("Authorization") or "").partition(" ")
        if scheme.lower() == "bearer" and secrets.compare_digest(given.strip().encode(), token.encode()):
            return None
        return "Give the token: Authorization: Bearer <METRICS_TOKEN>."
    if settings.IS_BEHIND_PROXY or any(header(name) for name in _OF_A_PROXY) or not _is_loopback(address):
        return "The metrics are for this machine alone. Set METRICS_TOKEN to read them from elsewhere."
    return None


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
