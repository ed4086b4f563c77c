"""Keys and rows of long ago, and the limits below which they go, as the tests of pruning make them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from messaging.models import IdempotencyKey, KeyRetention
from operations.pruning_keys import prune_keys

SERVICE = "inventory"
LONG_AGO = datetime(2015, 1, 1, tzinfo=UTC)
"""Older than anything that another test writes."""
LIMIT = LONG_AGO + timedelta(days=30)
DAYS = (datetime.now(UTC) - LIMIT).days
"""As a retention, it ends at `LIMIT` at the earliest."""


def a_key(settings: Any, key: str | None = None, *, at: datetime = LONG_AGO, **more: Any) -> str:
    """A key that was claimed at that moment and is finished; returns it. It is its message's id unless given."""
    message_id = uuid4()
    fields = {"state": "finished", "finished_at": at, **more}
    IdempotencyKey.objects.using(settings.SERVICES[SERVICE]).create(
        consumer=SERVICE,
        key=key or str(message_id),
        message_id=message_id,
        type="inventory.reserve_stock.v1",
        claimed_at=at,
        **fields,
    )
    return key or str(message_id)


def is_there(settings: Any, key: str) -> bool:
    return IdempotencyKey.objects.using(settings.SERVICES[SERVICE]).filter(consumer=SERVICE, key=key).exists()


def prune_inventory(*, before: datetime = LIMIT, size: int = 10) -> int:
    return sum(batch.pruned for batch in prune_keys(SERVICE, before=before, size=size))


def limit_of(settings: Any) -> KeyRetention:
    return KeyRetention.objects.using(settings.SERVICES[SERVICE]).get(service=SERVICE)


def let_grace_pass(settings: Any) -> None:
    row = limit_of(settings)
    row.raised_at -= timedelta(seconds=settings.KEY_DELETION_GRACE + 1)
    row.save(using=settings.SERVICES[SERVICE])
