"""Keeping the databases small: what is done with is deleted by age, a batch in each short transaction.

Safe to run twice at once, to stop anywhere and to run again. Events, sagas, orders and positions in streams are history
and are never pruned.
"""

import time
from collections.abc import Callable, Iterator

import msgspec
from django.conf import settings
from django.db import connections

from deadletters.pruning import JOB_IS_DONE_WITH, prune_closed
from messaging.failpoints import failpoint
from operations.pruning_keys import prune_keys, raise_limit, ripe_limit

Tick = Callable[[str, int], None]
"""Told what was pruned, and how many rows more."""


class Aged(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a table that go some days after `column`. The condition is SQL of ours, never anybody's input."""

    what: str
    database: str
    table: str
    primary_key: str
    column: str
    days: float
    condition: str = "true"


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """Rows deleted (or, in a dry run, that would be), old keys kept because they are needed, and whether that is all.

    `waiting` are services whose keys may be deleted by a later run only, because their limit was raised just now.
    """

    pruned: dict[str, int]
    kept_keys: dict[str, int]
    waiting: list[str]
    is_complete: bool
    is_dry_run: bool


def aged_tables() -> list[Aged]:
    """Everything that is pruned by age alone."""
    orders, default = settings.SERVICES["orders"], settings.SERVICES["operations"]
    return [
        *(
            Aged(
                what=f"failed attempts in {database}",
                database=database,
                table="messaging_failedattempt",
                primary_key="id",
                column="failed_at",
                days=settings.FAILURE_RETENTION_DAYS,
            )
            for database in sorted(set(settings.SERVICES.values()))
        ),
        Aged(
            what="checkout forms",
            database=orders,
            table="orders_checkout",
            primary_key="key",
            column="created_at",
            days=settings.REQUEST_RETENTION_DAYS,
        ),
        Aged(
            what="API requests",
            database=orders,
            table="orders_apirequest",
            primary_key="id",
            column="created_at",
            days=settings.REQUEST_RETENTION_DAYS,
            condition="lease_until < now()",
        ),
        Aged(
            what="results of jobs",
            database=default,
            table="django_celery_results_taskresult",
            primary_key="id",
            column="date_done",
            days=settings.RESULT_RETENTION_DAYS,
            condition="status IN ('SUCCESS', 'FAILURE', 'REVOKED')",
        ),
        Aged(
            what="bulk jobs on dead letters",
            database=default,
            table="deadletters_letterjob",
            primary_key="id",
            column="finished_at",
            days=settings.LETTER_RETENTION_DAYS,
            condition=JOB_IS_DONE_WITH,
        ),
        Aged(
            what="sessions",
            database=default,
            table="django_session",
            primary_key="session_key",
            column="expire_date",
            days=0,
        ),
    ]


def prune(*, is_dry_run: bool = False, tick: Tick = lambda what, rows: None) -> Pruned:
    """Delete what is old enough and not needed any more; stops between two batches after PRUNE_LONGEST seconds."""
    until = time.monotonic() + settings.PRUNE_LONGEST
    pruned: dict[str, int] = {}
    kept_keys: dict[str, int] = {}
    waiting: list[str] = []
    is_complete = True
    for what, rows in _steps(kept_keys, waiting, is_dry_run=is_dry_run):
        pruned[what] = pruned.get(what, 0) + rows
        tick(what, rows)
        if time.monotonic() > until:
            is_complete = False
            break
    return Pruned(
        pruned={what: rows for what, rows in pruned.items() if rows},
        kept_keys={service: rows for service, rows in kept_keys.items() if rows},
        waiting=waiting,
        is_complete=is_complete,
        is_dry_run=is_dry_run,
    )


def _steps(kept_keys: dict[str, int], waiting: list[str], *, is_dry_run: bool) -> Iterator[tuple[str, int]]:
    """Each batch as it is done: what, and how many rows."""
    for service in sorted(settings.SERVICES):
        what = f"idempotency keys of {service}"
        before = ripe_limit(service)
        if before is None:
            waiting.append(service)
        else:
            for batch in prune_keys(service, before=before, size=settings.PRUNE_BATCH, is_dry_run=is_dry_run):
                kept_keys[service] = kept_keys.get(service, 0) + batch.kept
                yield what, batch.pruned
        if not is_dry_run and raise_limit(service):
            failpoint("prune.raised")
    # Only now that the limits are raised: a letter stands in for its key until no copy of its replay would be run.
    letters = prune_closed(
        days=settings.LETTER_RETENTION_DAYS, size=settings.PRUNE_BATCH, is_dry_run=is_dry_run
    )
    yield from (("closed dead letters", rows) for rows in letters)
    for aged in aged_tables():
        yield from ((aged.what, rows) for rows in prune_aged(aged, is_dry_run=is_dry_run))


def prune_aged(aged: Aged, *, is_dry_run: bool) -> Iterator[int]:
    """Delete the rows that are old enough, oldest first; a row that another run is deleting is left to it."""
    table, key, column = aged.table, aged.primary_key, aged.column
    # Every name is one of the literals above.
    old = f"{column} < now() - %s * interval '1 day' AND {aged.condition}"
    count = f"SELECT count(*) FROM {table} WHERE {old}"  # noqa: S608
    delete = (
        f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE {old} "  # noqa: S608
        f"ORDER BY {column} LIMIT %s FOR UPDATE SKIP LOCKED)"
    )
    with connections[aged.database].cursor() as cursor:
        if is_dry_run:
            cursor.execute(count, [aged.days])
            yield cursor.fetchone()[0]
            return
        while True:
            cursor.execute(delete, [aged.days, settings.PRUNE_BATCH])
            rows = cursor.rowcount
            failpoint("prune.deleted")
            yield rows
            if rows < settings.PRUNE_BATCH:
                return
