"""Where handlers are rehearsed: a transaction of the service's database in which nothing stays."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn

from django.db import connections, transaction

from deadletters.errors import InTransaction, LeavesItsDatabase

LOCK_TIMEOUT = 2
"""Seconds to wait for rows that somebody else holds."""
STATEMENT_TIMEOUT = 10
IDLE_TIMEOUT = 15
"""Seconds that a handler may compute between two statements, while others may wait for its rows."""

_LIMITS = f"""
SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s';
SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}s';
SET LOCAL idle_in_transaction_session_timeout = '{IDLE_TIMEOUT}s'"""

# What this transaction has done so far, and what the session has not reported yet: only differences say anything.
_COUNTS = """
SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_xact_user_tables
WHERE n_tup_ins + n_tup_upd + n_tup_del > 0"""

OPERATIONS = ("INSERT", "UPDATE", "DELETE")


@contextmanager
def rolled_back(database: str) -> Iterator[None]:
    """Inside is a transaction that is rolled back at its end, whatever happens; its locks and statements have limits.

    Other databases refuse every statement meanwhile, since what was done there would stay. Raises `InTransaction` where
    one is open already.
    """
    connection = connections[database]
    if connection.in_atomic_block:
        raise InTransaction(
            f"A dry run cannot be made inside a transaction of {database!r}: it would be rolled back too. "
            "Call it outside of transaction.atomic()."
        )
    with ExitStack() as others:
        for alias in connections:
            if alias != database:
                others.enter_context(connections[alias].execute_wrapper(_refuse))
        with transaction.atomic(using=database):
            try:
                with connection.cursor() as cursor:
                    cursor.execute(_LIMITS)
                yield
            finally:
                transaction.set_rollback(True, using=database)


def check_constraints(database: str) -> None:
    """Let the constraints speak that would be checked at the commit, which never comes."""
    with connections[database].cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def counts(database: str) -> dict[tuple[str, str], int]:
    """Rows written by table and operation, triggers' included; to be compared with those of a later moment.

    Rows that a statement has written in a savepoint which was rolled back are counted too.
    """
    with connections[database].cursor() as cursor:
        cursor.execute(_COUNTS)
        return {
            (table, operation): rows
            for table, *found in cursor.fetchall()
            for operation, rows in zip(OPERATIONS, found, strict=True)
        }


def _refuse(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> NoReturn:
    raise LeavesItsDatabase(
        f"The handler has turned to the database {context['connection'].alias!r}, which is not its service's. "
        "A dry run cannot undo what is done there, so it was not done."
    )
