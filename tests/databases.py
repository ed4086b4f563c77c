"""Fresh databases in an instant: cloned from templates that are migrated and filled once for each state of the code.

Nothing is ever flushed between tests (the event store refuses TRUNCATE), so a run begins with new clones, and
tests that commit keep apart by their own ids.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg2
from django.conf import settings
from django.db import connections
from psycopg2 import sql

from inventory.services import receive
from operations.management.commands.set_up import DEMONSTRATION_STOCK, SOLD_OUT
from operations.provisioning import migrate
from orders.catalogue import DEMONSTRATION_CATALOGUE, load_catalogue

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (
    "*/migrations/*.py",
    "requirements.txt",
    "orders/catalogue.py",
    "operations/management/commands/set_up.py",
    "deadletters/permissions.py",
    "contracts/*.py",
)
TEMPLATE = "template_of_makegood"


def aliases() -> list[str]:
    return sorted(set(settings.SERVICES.values()))


@cache
def state_of_the_code() -> str:
    """A name that changes whenever the templates would."""
    digest = hashlib.sha256(",".join(aliases()).encode())
    for path in sorted(
        path for pattern in SOURCES for path in ROOT.glob(pattern) if ".venv" not in path.parts
    ):
        digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()[:12]


class Databases:
    """The databases of one run. Their server is the one that `DATABASE_URL` names."""

    def __init__(self) -> None:
        parameters = connections["default"].get_connection_params()
        parameters.pop("cursor_factory", None)
        # A database of its own to talk from: no template may be in use while it is cloned.
        self._parameters = {**parameters, "dbname": "postgres"}
        self._names("")

    def prepare_templates(self) -> None:
        """Afterwards there is a migrated and filled template for each alias; those of older code are gone."""
        state = state_of_the_code()
        known = self._names(f"{TEMPLATE}_%")
        for name in known:
            if state not in name:
                self.drop(name)
        if all(self.template(alias) in known for alias in aliases()):
            return
        drafts = {alias: f"{TEMPLATE}_draft_{alias}" for alias in aliases()}
        for name in drafts.values():
            self.drop(name)
            self._run("CREATE DATABASE {}", name)
        with connected_to(drafts):
            migrate(lambda line: None)
            load_catalogue()
            for article in DEMONSTRATION_CATALOGUE:
                if article.sku != SOLD_OUT:
                    receive(article.sku, DEMONSTRATION_STOCK)
        for alias, name in drafts.items():
            self.drop(self.template(alias))
            self._run("ALTER DATABASE {} RENAME TO {}", name, self.template(alias))

    def clone(self, prefix: str) -> dict[str, str]:
        """New databases from the templates, one for each alias; older ones of these names are replaced."""
        names = {alias: f"{prefix}_{alias}" for alias in aliases()}
        for alias, name in names.items():
            self.drop(name)
            self._run("CREATE DATABASE {} TEMPLATE {}", name, self.template(alias))
        return names

    def drop(self, name: str) -> None:
        """Afterwards there is no such database, whoever was connected to it."""
        self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    @staticmethod
    def template(alias: str) -> str:
        return f"{TEMPLATE}_{state_of_the_code()}_{alias}"

    def _names(self, pattern: str) -> list[str]:
        with self._cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [pattern])
            return [name for (name,) in cursor.fetchall()]

    def _run(self, statement: str, *names: str) -> None:
        with self._cursor() as cursor:
            cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        """A connection for each statement: some tests restart the server in between."""
        server = psycopg2.connect(**self._parameters)
        try:
            server.autocommit = True
            with server.cursor() as cursor:
                yield cursor
        finally:
            server.close()


@contextmanager
def connected_to(names: dict[str, str]) -> Iterator[None]:
    """Inside, each alias of this process is connected to the database of that name."""
    before: dict[str, Any] = {alias: connections.settings[alias]["NAME"] for alias in names}
    _connect(names)
    try:
        yield
    finally:
        _connect(before)


def _connect(names: dict[str, str]) -> None:
    connections.close_all()
    for alias, name in names.items():
        connections.settings[alias]["NAME"] = name
