"""A run of pruning may be killed, repeated and run twice at once, and finished rows go by age."""

import os
import signal
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from django.core.management import call_command
from django.db import connections
from django_celery_results.models import TaskResult

from deadletters.models import LetterJob
from messaging import failpoints
from messaging.models import FailedAttempt, KeyRetention
from operations import pruning
from operations.pruning import aged_tables, prune, prune_aged
from operations.pruning_keys import raise_limit
from orders.models import ApiRequest, Checkout
from tests.at_once import at_once
from tests.integration.operations.old_keys import (
    DAYS,
    LONG_AGO,
    SERVICE,
    a_key,
    is_there,
    let_grace_pass,
    limit_of,
    prune_inventory,
)

pytestmark = pytest.mark.usefixtures("long_retention")


def test_two_runs_at_once_delete_everything_once(settings):
    keys = [a_key(settings, at=LONG_AGO + timedelta(seconds=number)) for number in range(300)]

    counts = at_once(prune_inventory, prune_inventory)

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
    rows["bulk jobs on dead letters"] = tuple(
        LetterJob.objects.create(
            id=uuid4(),
            kind="restore",
            state="finished",
            filter={},
            requested_at=finished_at,
            collected_until=finished_at,
            begins_at=finished_at,
            ramp=[],
            rate=1,
            finished_at=finished_at,
        )
        for finished_at in (LONG_AGO, now)
    )
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
