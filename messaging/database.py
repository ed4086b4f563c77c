"""Telling a database that is away, or busy, from one that refuses."""

import logging
import time

import psycopg2
from django.db import Error, InterfaceError, OperationalError, connections

from messaging import vitality

log = logging.getLogger(__name__)

_REPEATABLE = {"40001", "40P01", "55P03"}
"""Serialization failure, deadlock, lock not available: the same transaction may succeed at once."""
_OUT_OF_TIME = {"55P03", "57014"}
"""Lock not available, statement cancelled."""
_AWAY = {"57P01", "57P02", "57P03", "53300", "25006"}
"""Shut down by an administrator, crashed, starting up, too many connections, read-only standby."""


def _sqlstate(error: BaseException) -> str | None:
    cause = error.__cause__
    return cause.pgcode if isinstance(cause, psycopg2.Error) else None


def is_away(error: Error, *, database: str) -> bool:
    """Whether the error says that the connection is gone or the server is not ready."""
    state = _sqlstate(error)
    if state is not None and (state in _AWAY or state.startswith("08")):
        return True
    connection = connections[database].connection
    is_closed = connection is None or connection.closed != 0
    if isinstance(error, InterfaceError):
        return is_closed  # a handler's mistake, such as a cursor that it has closed itself, is one too
    return isinstance(error, OperationalError) and (state is None or is_closed)


def is_repeatable(error: Error) -> bool:
    """Whether the same transaction may be run again at once."""
    return _sqlstate(error) in _REPEATABLE


def is_busy(error: Error) -> bool:
    """Whether the time that the session allows was too short: for rows that others hold, or for a statement."""
    return _sqlstate(error) in _OUT_OF_TIME


def wait_until_back(database: str) -> None:
    """Wait until the database answers again; no attempt is counted meanwhile."""
    connection = connections[database]
    pause = 0.1
    is_said = False
    while True:
        vitality.turned()
        connection.close()
        time.sleep(pause)
        pause = min(2.0, pause * 2)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            if is_said:
                log.info("database %s is back", database)
            return
        except Error as error:
            if not is_said:
                log.warning("database %s is away, waiting: %s", database, str(error).strip())
                is_said = True


def session_name(consumer: str) -> str:
    """The name that the sessions of whoever consumes this service's messages bear in its database."""
    return f"makegood-{consumer}"


def name_sessions(consumer: str, *, database: str) -> None:
    """Have the sessions that this process opens bear that name: while there is one, messages may be in its hands."""
    connections.settings[database].setdefault("OPTIONS", {})["application_name"] = session_name(consumer)


def count_sessions(consumer: str, *, database: str) -> int:
    """How many sessions of that name the database has now."""
    with connections[database].cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s "
            "AND pid <> pg_backend_pid()",
            [session_name(consumer)],
        )
        return int(cursor.fetchone()[0])
