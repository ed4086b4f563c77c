"""Faults on purpose. Whether a call is hit depends only on its idempotency key, so a run can be repeated."""

import hashlib
from dataclasses import dataclass, fields
from typing import Any

from simulator.cards import Behaviour
from simulator.errors import invalid

MOST_LATENCY_MS = 60_000


def share(purpose: str, key: str) -> float:
    """A number in [0, 1), always the same for the same purpose and key, evenly spread over keys."""
    digest = hashlib.blake2b(f"{purpose}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How often which fault strikes. Rates are 0 to 1, of all idempotency keys."""

    latency_ms: float = 0
    decline_rate: float = 0
    timeout_rate: float = 0
    error_rate: float = 0
    outage_rate: float = 0

    @classmethod
    def parse(cls, body: dict[str, Any]) -> "Faults":
        """The faults of a JSON object; what is absent is zero. Raises `RequestRefused` naming the field."""
        names = [field.name for field in fields(cls)]
        for name, value in body.items():
            if name not in names:
                raise invalid(name, f"There is no fault {name!r}; known are {', '.join(names)}.")
            most = MOST_LATENCY_MS if name == "latency_ms" else 1
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not 0 <= value <= most:
                raise invalid(name, f"{name} must be a number from 0 to {most}.")
        return cls(**body)

    def is_out(self, key: str) -> bool:
        """Whether every call of this key fails with 503, having changed nothing, for as long as the fault is set."""
        return share("outage", key) < self.outage_rate

    def declines(self, key: str) -> bool:
        """Whether the authorization under this key is declined."""
        return share("decline", key) < self.decline_rate

    def loses_answer(self, key: str, behaviour: Behaviour | None) -> bool:
        """Whether the first answer under this key is executed and never sent."""
        return behaviour is Behaviour.LOSES_ANSWERS or share("timeout", key) < self.timeout_rate

    def failures(self, key: str, behaviour: Behaviour | None) -> int:
        """How many calls of this key fail with 503, having changed nothing, before one is carried out."""
        flaky = int(share("flaky", key) * 3) if behaviour is Behaviour.FLAKY else 0
        struck = 1 + int(share("errors", key) * 2) if share("error", key) < self.error_rate else 0
        return max(flaky, struck)
