"""The gateway's books: one SQLite file, written by one process, a transaction an operation."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from simulator.cards import TEST_CARDS, Behaviour, Card
from simulator.errors import InvalidSetting

VERSION = 1

SCHEMA = """
CREATE TABLE cards (
    token TEXT PRIMARY KEY,
    behaviour TEXT NOT NULL,
    brand TEXT NOT NULL,
    last4 TEXT NOT NULL CHECK (length(last4) = 4)
) WITHOUT ROWID;

CREATE TABLE authorizations (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    key TEXT NOT NULL UNIQUE,  -- the idempotency key; a void finds the authorization by it
    token TEXT NOT NULL REFERENCES cards,
    reference TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'authorized' CHECK (status IN ('authorized', 'captured', 'voided')),
    currency TEXT NOT NULL CHECK (length(currency) = 3),
    authorized INTEGER NOT NULL CHECK (authorized > 0),
    captured INTEGER NOT NULL DEFAULT 0 CHECK (captured IN (0, authorized)),
    refunded INTEGER NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND captured),
    CHECK ((status = 'captured') = (captured > 0))
);

-- Keys whose authorization was voided before it came: it will be declined.
CREATE TABLE closed_keys (key TEXT PRIMARY KEY) WITHOUT ROWID;

-- What was carried out under each idempotency key, and its answer.
CREATE TABLE operations (
    key TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    status_code INTEGER NOT NULL,
    response TEXT NOT NULL
) WITHOUT ROWID;

-- How often a call that is bound to fail at first has failed: an operation by its key, a look-up by a name made of it.
CREATE TABLE failures (key TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
"""


class Books:
    """Open books. Safe to use from any thread; what a transaction wrote outlives a killed process."""

    def __init__(self, path: Path) -> None:
        """Makes the file if it is absent. Raises `InvalidSetting` for the file of another version."""
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        # A commit is in the operating system's hands, not yet on the disk: a killed process loses nothing,
        # a power cut may lose the last moments. A stand-in for a gateway need not pay for more.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._prepare(path)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing: commits at the end of the block, rolls back on an exception. Others wait."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite itself rolls back when the disk is full, for example.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _prepare(self, path: Path) -> None:
        with self.transaction() as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                for statement in SCHEMA.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION}")
            elif version != VERSION:
                raise InvalidSetting(
                    f"The gateway's books {path} have version {version}; this simulator reads {VERSION}. "
                    "Move the file away or name another one in GATEWAY_BOOKS."
                )
            for test_card in TEST_CARDS:
                add_card(connection, test_card.token, test_card.card)


def add_card(connection: sqlite3.Connection, token: str, card: Card) -> None:
    """Afterwards the token stands for the card; a token that is known already stays as it is."""
    connection.execute(
        "INSERT INTO cards (token, behaviour, brand, last4) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (token, card.behaviour, card.brand, card.last4),
    )


def behaviour_of_token(connection: sqlite3.Connection, token: str) -> Behaviour | None:
    """None for a token that was never issued."""
    row = connection.execute("SELECT behaviour FROM cards WHERE token = ?", (token,)).fetchone()
    return None if row is None else Behaviour(row["behaviour"])


def authorization_by_id(connection: sqlite3.Connection, authorization: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM authorizations JOIN cards USING (token) WHERE id = ?", (authorization,)
    ).fetchone()
    return row


def authorization_by_key(connection: sqlite3.Connection, key: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM authorizations JOIN cards USING (token) WHERE key = ?", (key,)
    ).fetchone()
    return row


def page(connection: sqlite3.Connection, *, after: str | None, limit: int) -> dict[str, Any] | None:
    """Up to `limit` authorizations in the order in which they were made, and where the next page begins.

    `next` is the last entry's id while there are more, else None. The whole answer is None where `after` is
    unknown.
    """
    position = 0
    if after is not None:
        row = authorization_by_id(connection, after)
        if row is None:
            return None
        position = row["position"]
    rows = connection.execute(
        "SELECT id, reference, status, authorized, captured, refunded, currency FROM authorizations"
        " WHERE position > ? ORDER BY position LIMIT ?",
        (position, limit + 1),
    ).fetchall()
    entries = [dict(row) for row in rows[:limit]]
    return {"entries": entries, "next": entries[-1]["id"] if len(rows) > limit else None}
