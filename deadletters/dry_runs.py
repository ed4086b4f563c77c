"""A dry run: the handler that is installed now, on a letter, in a transaction that is rolled back."""

from typing import Any
from uuid import UUID

import msgspec


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one table that the handler would change; `operation` is INSERT, UPDATE or DELETE."""

    table: str
    operation: str
    rows: int


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A message that would be sent or published; `to` is the queue, or the exchange and routing key."""

    type: str
    to: str
    body: dict[str, Any]


class GatewayCall(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway would be asked. It was not asked; `answer` says which answer was assumed instead, in words."""

    gateway: str
    request: dict[str, Any]
    answer: str


class DryRun(msgspec.Struct, frozen=True, kw_only=True):
    """What would happen. `verdict` is one sentence; where it fails, `exception` and `traceback` say how."""

    letter_id: UUID
    service: str
    type: str
    would_succeed: bool
    verdict: str
    exception: str = ""
    traceback: str = ""
    is_same_failure: bool = False
    writes: list[Write] = []
    told: list[Told] = []
    gateway_calls: list[GatewayCall] = []


def dry_run(letter_id: UUID) -> DryRun:
    """Run it and undo it. Nothing is sent, no gateway is asked, no key stays claimed."""
    raise NotImplementedError
