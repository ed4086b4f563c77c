"""The services' databases, asked from outside. A server that is away is waited for."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import psycopg2

from chaos.errors import ChaosError
from launcher.environment import OWN_DATABASES
from launcher.interruption import check
from launcher.servers import DATABASE_URL

PATIENCE = 120
"""Seconds that a database may be away before the run is given up."""

_CUT = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()"""


class Databases:
    """`default`, and each service's own; one connection each, made anew when the server was away."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._urls = {"default": environment[DATABASE_URL]}
        for variable in OWN_DATABASES:
            service = variable.removesuffix("_DATABASE_URL").lower()
            self._urls[service] = environment.get(variable) or self._urls["default"]
        self._open: dict[str, Any] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """One name for each database, though services may share one."""
        return tuple({url: name for name, url in reversed(self._urls.items())}.values())

    def ask(self, name: str, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query. Raises ChaosError where the database stays away."""
        until = time.monotonic() + PATIENCE
        while True:
            check()
            try:
                with self._connection(name).cursor() as cursor:
                    cursor.execute(sql, parameters)
                    return list(cursor.fetchall())
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                self._forget(name)
                if time.monotonic() > until:
                    raise ChaosError(
                        f"The database {name} did not answer for {PATIENCE} s: {error}"
                    ) from error
                time.sleep(0.2)

    def number(self, name: str, sql: str) -> int:
        """The one number that a query gives."""
        return int(self.ask(name, sql)[0][0])

    def total(self, sql: str) -> int:
        """The sum of what the query gives in every database."""
        return sum(self.number(name, sql) for name in self.names)

    def has_table(self, name: str, table: str) -> bool:
        return bool(self.ask(name, "SELECT to_regclass(%s) IS NOT NULL", [table])[0][0])

    def cut_sessions(self, name: str) -> int:
        """End every session in a database but our own, whatever it is in the middle of; returns how many."""
        return self.number(name, _CUT)

    def close(self) -> None:
        for name in list(self._open):
            self._forget(name)

    def _connection(self, name: str) -> Any:
        if name not in self._open:
            connection = psycopg2.connect(self._urls[name], connect_timeout=5, application_name="chaos")
            connection.autocommit = True
            self._open[name] = connection
        return self._open[name]

    def _forget(self, name: str) -> None:
        connection = self._open.pop(name, None)
        if connection is not None:
            with closing(connection):
                pass
