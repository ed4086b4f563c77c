"""Pruning deletes what is old, never what is needed, and never so that a late copy could be run again."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connections

from deadletters.models import DeadLetter
from messaging.models import KeyRetention, OutboxMessage
from messaging.retention import CLOCK_TOLERANCE, IS_TOO_OLD
from operations.pruning import prune
from operations.pruning_keys import prune_keys, raise_limit, ripe_limit
from sagas.models import SagaRecord
from tests.integration.admin.records import record_letter
from tests.integration.operations.old_keys import (
    DAYS,
    LIMIT,
    LONG_AGO,
    SERVICE,
    a_key,
    is_there,
    let_grace_pass,
    limit_of,
    prune_inventory,
)

pytestmark = pytest.mark.usefixtures("long_retention")


def a_saga(*, finished_at: datetime | None) -> UUID:
    saga_id = uuid4()
    SagaRecord.objects.create(
        id=saga_id,
        name="checkout",
        version=1,
        business_key=str(saga_id),
        correlation_id=str(saga_id),
        status="completed" if finished_at else "running",
        data={},
        started_at=LONG_AGO,
        finished_at=finished_at,
    )
    return saga_id


def a_waiting_message(settings: Any, *, service: str, key: str) -> None:
    OutboxMessage.objects.using(settings.SERVICES[service]).create(
        message_id=UUID(int=int(LONG_AGO.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62 | uuid4().int >> 70),
        service=service,
        type="inventory.reserve_stock.v1",
        exchange="commands",
        routing_key="inventory.reserve_stock",
        headers={"idempotency_key": key},
        body={},
        available_at=datetime.now(UTC) + timedelta(days=1),
        created_at=datetime.now(UTC),
    )


def test_old_keys_of_messages_are_deleted_and_young_ones_stay(settings):
    old = [a_key(settings) for _ in range(25)]
    at_the_limit = a_key(settings, at=LIMIT)

    assert prune_inventory() == 25
    assert [key for key in old if is_there(settings, key)] == []
    assert is_there(settings, at_the_limit)


def test_keys_of_other_services_stay(settings):
    key = a_key(settings)

    assert sum(batch.pruned for batch in prune_keys("billing", before=LIMIT, size=10)) == 0
    assert is_there(settings, key)


def test_a_call_to_a_gateway_that_was_started_keeps_its_key(settings):
    key = a_key(settings, state="started", finished_at=None, lease_until=LONG_AGO, fence=1)

    prune_inventory()

    assert is_there(settings, key)


@pytest.mark.parametrize("service", ["orders", "inventory", "billing"])
def test_a_message_that_waits_in_any_outbox_keeps_its_key(settings, service):
    key = a_key(settings)
    a_waiting_message(settings, service=service, key=key)

    prune_inventory()
    assert is_there(settings, key)

    OutboxMessage.objects.using(settings.SERVICES[service]).filter(headers__idempotency_key=key).delete()
    prune_inventory()
    assert not is_there(settings, key)


def test_a_compensation_that_waits_keeps_its_actions_key_too(settings):
    prefix = f"{a_saga(finished_at=LONG_AGO)}:reserve:1:"
    action, compensation = (a_key(settings, prefix + kind) for kind in ("action", "compensation"))
    a_waiting_message(settings, service="sagas", key=compensation)

    prune_inventory()

    assert is_there(settings, action)
    assert is_there(settings, compensation)


@pytest.mark.parametrize(
    ("finished_at", "is_needed"),
    [(None, True), (LIMIT, True), (LIMIT - timedelta(microseconds=1), False)],
    ids=["running", "finished at the limit", "finished before"],
)
def test_a_sagas_keys_stay_until_no_copy_of_its_last_command_can_be_young_enough_to_run(
    settings, finished_at, is_needed
):
    """A command that is repeated is a new message: its saga's end bounds its age, the key's does not."""
    key = a_key(settings, f"{a_saga(finished_at=finished_at)}:reserve:1:action")

    prune_inventory()

    assert is_there(settings, key) is is_needed


@pytest.mark.parametrize("key", ["{}:reserve:1:action", "nightly-{}"], ids=["no such saga", "no saga's key"])
def test_a_key_that_nothing_is_known_of_stays(settings, key):
    key = a_key(settings, key.format(uuid4()))

    prune_inventory()

    assert is_there(settings, key)


def test_a_dead_letter_that_may_be_replayed_keeps_its_key(settings):
    kept, free = a_key(settings), a_key(settings)
    letter = record_letter(idempotency_key=kept)

    assert prune_inventory() == 1
    assert (is_there(settings, kept), is_there(settings, free)) == (True, False)

    DeadLetter.objects.filter(id=letter.id).update(state="resolved", closed_at=LONG_AGO)
    assert prune_inventory() == 1


def test_keys_that_are_kept_do_not_hide_those_behind_them(settings):
    kept = [a_key(settings, f"kept-{uuid4()}") for _ in range(30)]
    free = [a_key(settings, at=LONG_AGO + timedelta(days=1)) for _ in range(15)]

    assert prune_inventory(size=7) == 15
    assert all(is_there(settings, key) for key in kept)
    assert not any(is_there(settings, key) for key in free)


def test_keys_are_deleted_only_by_a_later_run_when_the_grace_period_is_over(settings):
    settings.KEY_RETENTION_DAYS = DAYS - 1
    key = a_key(settings)

    assert SERVICE in prune().waiting
    assert is_there(settings, key), "the run that raises the limit deletes nothing"
    assert SERVICE in prune().waiting
    assert is_there(settings, key), "nor does one within the grace period"

    let_grace_pass(settings)
    report = prune()
    assert not is_there(settings, key)
    assert report.pruned[f"idempotency keys of {SERVICE}"] == 1
    assert SERVICE not in report.waiting


def test_a_key_within_the_clocks_tolerance_of_the_limit_stays(settings):
    raise_limit(SERVICE)
    let_grace_pass(settings)
    since = limit_of(settings).keys_kept_since

    assert ripe_limit(SERVICE) == since - CLOCK_TOLERANCE


def test_the_limit_is_raised_again_only_when_its_own_deletion_was_allowed(settings):
    assert raise_limit(SERVICE)
    first = limit_of(settings)
    assert not raise_limit(SERVICE)
    assert limit_of(settings).raised_at == first.raised_at, "or the grace period would never be over"

    let_grace_pass(settings)
    assert raise_limit(SERVICE)
    assert limit_of(settings).keys_kept_since > first.keys_kept_since


def test_the_limit_never_falls(settings):
    raise_limit(SERVICE)
    let_grace_pass(settings)
    before = limit_of(settings).keys_kept_since
    settings.KEY_RETENTION_DAYS = DAYS + 365

    assert not raise_limit(SERVICE)
    assert limit_of(settings).keys_kept_since == before


@pytest.mark.parametrize(
    ("date", "service", "is_too_old"),
    [
        (LIMIT - timedelta(microseconds=1), SERVICE, True),
        (LIMIT, SERVICE, False),
        (LIMIT - timedelta(days=1), "shipping", False),
        (None, SERVICE, False),
    ],
    ids=["just before the limit", "at the limit", "a service that never pruned", "never too old"],
)
def test_a_message_is_too_old_below_the_limit_of_its_consumer(settings, date, service, is_too_old):
    database = settings.SERVICES[SERVICE]
    KeyRetention.objects.using(database).create(
        service=SERVICE, keys_kept_since=LIMIT, raised_at=datetime.now(UTC)
    )

    with connections[database].cursor() as cursor:
        cursor.execute(f"SELECT {IS_TOO_OLD}", [date, service])
        assert cursor.fetchone() == (is_too_old,)
