"""Pruning deletes what is old, never what is needed, and never so that a late copy could be run again."""

import os
import signal
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from django.core.management import call_command
from django.db import connections
from django_celery_results.models import TaskResult

from deadletters.models import DeadLetter
from messaging import failpoints
from messaging.models import FailedAttempt, IdempotencyKey, KeyRetention, OutboxMessage
from messaging.retention import CLOCK_TOLERANCE, IS_TOO_OLD
from operations import pruning
from operations.pruning import aged_tables, prune, prune_aged
from operations.pruning_keys import prune_keys, raise_limit, ripe_limit
from orders.models import ApiRequest, Checkout
from sagas.models import SagaRecord
from tests.integration.admin.records import record_letter

pytestmark = pytest.mark.usefixtures("committed")

SERVICE = "inventory"
LONG_AGO = datetime(2015, 1, 1, tzinfo=UTC)
"""Older than anything that another test writes."""
LIMIT = LONG_AGO + timedelta(days=30)
DAYS = (datetime.now(UTC) - LIMIT).days
"""As a retention, it ends at `LIMIT` at the earliest."""


@pytest.fixture(autouse=True)
def long_retention(committed, settings):
    """Nothing younger than `LIMIT` is pruned here, and the limits are gone afterwards."""
    for name in ("KEY", "FAILURE", "LETTER", "REQUEST", "RESULT"):
        setattr(settings, f"{name}_RETENTION_DAYS", DAYS)
    settings.PRUNE_BATCH = 10
    yield
    for service, database in settings.SERVICES.items():
        KeyRetention.objects.using(database).filter(service=service).delete()
    IdempotencyKey.objects.using(settings.SERVICES[SERVICE]).filter(
        consumer=SERVICE, claimed_at__lte=LIMIT
    ).delete()


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


def limit_of(settings: Any) -> KeyRetention:
    return KeyRetention.objects.using(settings.SERVICES[SERVICE]).get(service=SERVICE)


def let_grace_pass(settings: Any) -> None:
    row = limit_of(settings)
    row.raised_at -= timedelta(seconds=settings.KEY_DELETION_GRACE + 1)
    row.save(using=settings.SERVICES[SERVICE])


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


def test_two_runs_at_once_delete_everything_once(settings):
    keys = [a_key(settings, at=LONG_AGO + timedelta(seconds=number)) for number in range(300)]
    counts, failures, start = [], [], threading.Barrier(2)

    def run() -> None:
        try:
            start.wait(timeout=60)
            counts.append(prune_inventory())
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)

    assert failures == []
    prune_inventory()
    assert not any(is_there(settings, key) for key in keys)
    assert sum(counts) <= 300, "no row is counted twice"


def test_a_run_that_is_killed_in_the_middle_has_deleted_whole_batches_and_the_next_one_goes_on(settings):
    keys = [a_key(settings) for _ in range(45)]
    kept = a_key(settings, f"kept-{uuid4()}", at=LONG_AGO - timedelta(days=1))

    assert _killed_at("prune.deleted", count=2, run=lambda: prune_inventory(size=10)) == signal.SIGKILL

    left = [key for key in keys if is_there(settings, key)]
    assert len(left) == 45 - 9 - 10, "the batch with the kept key, and one more"
    assert prune_inventory() == len(left)
    assert is_there(settings, kept)


def test_a_run_that_is_killed_after_raising_the_limit_has_deleted_nothing(settings):
    settings.KEY_RETENTION_DAYS = DAYS - 1
    key = a_key(settings)

    assert _killed_at("prune.raised", count=1, run=prune) == signal.SIGKILL

    first = min(settings.SERVICES)
    assert KeyRetention.objects.using(settings.SERVICES[first]).filter(service=first).exists()
    assert is_there(settings, key)


def _killed_at(name: str, *, count: int, run: Any) -> int:
    """Run it in a child that is killed the `count`th time it gets there; returns the signal that ended it."""
    connections.close_all()
    child = os.fork()
    if child == 0:
        failpoints._name, failpoints._left = name, count
        try:
            run()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status)


def _old_rows(settings: Any) -> dict[str, tuple[Any, Any]]:
    """What is pruned by age alone: an old row and a young one of each."""
    orders, default = settings.SERVICES["orders"], settings.SERVICES["operations"]
    now = datetime.now(UTC)
    rows: dict[str, tuple[Any, Any]] = {}
    rows["checkout forms"] = tuple(
        Checkout.objects.using(orders).create(
            key=str(uuid4()), contents={}, order_id=uuid4(), created_at=created_at
        )
        for created_at in (LONG_AGO, now)
    )
    rows["API requests"] = tuple(
        ApiRequest.objects.using(orders).create(
            client="a", key=str(uuid4()), contents={}, lease_until=created_at, created_at=created_at
        )
        for created_at in (LONG_AGO, now)
    )
    results = []
    for done_at in (LONG_AGO, now):
        result = TaskResult.objects.using(default).create(task_id=str(uuid4()), status="SUCCESS")
        TaskResult.objects.using(default).filter(pk=result.pk).update(date_done=done_at)
        results.append(result)
    rows["results of jobs"] = tuple(results)
    for database in sorted(set(settings.SERVICES.values())):
        rows[f"failed attempts in {database}"] = tuple(
            FailedAttempt.objects.using(database).create(
                consumer="inventory",
                message_id=uuid4(),
                attempt=1,
                type="inventory.reserve_stock.v1",
                exception="?",
                traceback="?",
                failed_at=failed_at,
            )
            for failed_at in (LONG_AGO, now)
        )
    return rows


def _exists(row: Any) -> bool:
    return type(row).objects.using(row._state.db).filter(pk=row.pk).exists()


def test_rows_that_are_done_with_go_by_age(settings):
    rows = _old_rows(settings)

    for aged in aged_tables():
        sum(prune_aged(aged, is_dry_run=False))

    assert {what: tuple(map(_exists, pair)) for what, pair in rows.items()} == dict.fromkeys(
        rows, (False, True)
    )


def test_a_dry_run_counts_and_changes_nothing(settings, capsys):
    settings.KEY_RETENTION_DAYS = DAYS - 1
    raise_limit(SERVICE)
    let_grace_pass(settings)
    before = limit_of(settings).keys_kept_since
    keys = [a_key(settings) for _ in range(12)]
    rows = _old_rows(settings)

    call_command("prune", "--dry-run", "--json")

    report = msgspec.json.decode(capsys.readouterr().out, type=pruning.Pruned)
    assert report.pruned[f"idempotency keys of {SERVICE}"] == 12
    assert {what for what in rows if report.pruned.get(what)} == set(rows)
    assert all(is_there(settings, key) for key in keys)
    assert all(_exists(row) for pair in rows.values() for row in pair)
    assert limit_of(settings).keys_kept_since == before

    call_command("prune")
    assert f"idempotency keys of {SERVICE}: 12 deleted" in capsys.readouterr().out


def test_a_run_stops_after_its_time_and_the_next_one_goes_on(settings):
    settings.KEY_RETENTION_DAYS = DAYS - 1
    settings.PRUNE_LONGEST = 0
    raise_limit(SERVICE)
    let_grace_pass(settings)
    rows = _old_rows(settings)

    reports = [prune()]
    while not reports[-1].is_complete and len(reports) < 500:
        settings.PRUNE_LONGEST = 600 if len(reports) > 2 else 0
        reports.append(prune())

    assert not reports[0].is_complete
    assert reports[-1].is_complete
    assert not any(_exists(old) for old, _ in rows.values())
