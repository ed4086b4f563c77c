"""Requests with an Idempotency-Key: who works on one, and what was answered.

A lease is a row of its own, committed before the order's transaction begins, so that a second request sees it
and is answered instead of blocked. It runs out: a process that dies leaves no key in flight for ever.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.conf import settings
from django.db import connections

from orders.models import ApiRequest
from orders.services import SERVICE, differing_fields

LEASE = timedelta(seconds=10)
"""Far longer than placing an order takes, far shorter than a client's patience."""


@dataclass(frozen=True, kw_only=True)
class InFlight:
    """Somebody else works on it, at most until then."""

    until: datetime


@dataclass(frozen=True, kw_only=True)
class Answered:
    """It came before: with this answer, or with contents that differ in these fields."""

    differing: list[str]
    status: int = 0
    response: Any = None


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The caller alone works on the request, until then."""

    client: str
    key: str
    until: datetime

    def answer(self, *, status: int, response: dict[str, Any]) -> None:
        """Keep the answer for every repetition. Whoever took over an expired lease gives the same one."""
        self._mine().update(status=status, response=response)

    def give_up(self) -> None:
        """Forget the request: nothing came of it, and the key is free for a mended one."""
        self._mine().delete()

    def _mine(self) -> Any:
        # No two leases of a key end at the same microsecond, so the end tells whose it is.
        return ApiRequest.objects.filter(
            client=self.client, key=self.key, lease_until=self.until, status__isnull=True
        )


def begin(*, client: str, key: str, contents: dict[str, Any], now: datetime) -> Lease | InFlight | Answered:
    """Take the lease of a request, or say why not. What is returned is committed."""
    lease = Lease(client=client, key=key, until=now + LEASE)
    if _insert(lease, contents, now):
        return lease
    known = ApiRequest.objects.filter(client=client, key=key).first()
    if known is None:
        # It was given up between the two statements; the client's next try begins it.
        return InFlight(until=now)
    differing = differing_fields(known.contents, msgspec.json.decode(msgspec.json.encode(contents)))
    if differing:
        return Answered(differing=differing)
    if known.status is not None:
        return Answered(differing=[], status=known.status, response=known.response)
    if known.lease_until > now:
        return InFlight(until=known.lease_until)
    expired = Lease(client=client, key=key, until=known.lease_until)
    if expired._mine().update(lease_until=lease.until) == 1:
        return lease
    return InFlight(until=lease.until)


def _insert(lease: Lease, contents: dict[str, Any], now: datetime) -> bool:
    with connections[settings.SERVICES[SERVICE]].cursor() as cursor:
        cursor.execute(
            "INSERT INTO orders_apirequest (client, key, contents, lease_until, created_at) "
            "VALUES (%s, %s, %s::jsonb, %s, %s) ON CONFLICT (client, key) DO NOTHING",
            [lease.client, lease.key, msgspec.json.encode(contents).decode(), lease.until, now],
        )
        return bool(cursor.rowcount == 1)
