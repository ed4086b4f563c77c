"""One idempotency key, one effect: however often, however concurrently a request comes.

The promises follow the IETF draft "The Idempotency-Key HTTP Header Field", with one choice of its own: a
request that comes while the first is being carried out waits for it and gets its answer.
"""

import hashlib
import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from simulator.books import Books
from simulator.errors import RequestRefused
from simulator.faults import Faults
from simulator.operations import OPERATIONS


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The answer to give under a key."""

    status_code: int
    body: dict[str, Any]
    is_replayed: bool = False
    is_answer_lost: bool = False
    """The operation is done, and the client shall not hear of it now."""


def carry_out(books: Books, *, kind: str, key: str, body: dict[str, Any], faults: Faults) -> Outcome:
    """Does the operation and stores its answer in one transaction, or gives the stored answer again.

    Raises `RequestRefused`, having changed nothing: for an invalid field, for an authorization that is not
    there, and with 422 for a key that was used for another request.
    """
    if faults.is_out(key):
        return _out_of_order()
    operation = OPERATIONS[kind].parse(body)
    fingerprint = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()
    with books.transaction() as connection:
        stored = connection.execute("SELECT * FROM operations WHERE key = ?", (key,)).fetchone()
        if stored is not None:
            if stored["kind"] != kind or stored["fingerprint"] != fingerprint:
                raise RequestRefused(
                    422,
                    "idempotency_key_reused",
                    f"The idempotency key {key!r} was used for another request to /v1/{stored['kind']}. "
                    "Send the same body again, or take a new key.",
                )
            return Outcome(
                status_code=stored["status_code"], body=json.loads(stored["response"]), is_replayed=True
            )
        behaviour = operation.behaviour(connection)
        if _fails_again(connection, key, bound_to_fail=faults.failures(key, behaviour)):
            return _out_of_order()
        answer = operation.run(connection, key=key, faults=faults)
        connection.execute(
            "INSERT INTO operations (key, kind, fingerprint, status_code, response) VALUES (?, ?, ?, ?, ?)",
            (key, kind, fingerprint, answer.status_code, json.dumps(answer.body)),
        )
    return Outcome(
        status_code=answer.status_code,
        body=answer.body,
        is_answer_lost=faults.loses_answer(key, behaviour),
    )


def stored_result(books: Books, key: str) -> dict[str, Any] | None:
    """What was carried out under the key; None where nothing was."""
    with books.transaction() as connection:
        row = connection.execute("SELECT * FROM operations WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    return {
        "key": row["key"],
        "operation": row["kind"],
        "status_code": row["status_code"],
        "response": json.loads(row["response"]),
    }


def _out_of_order() -> Outcome:
    refusal = RequestRefused(503, "out_of_order", "The gateway is out of order. Nothing was done; repeat.")
    return Outcome(status_code=refusal.status, body=refusal.document())


def _fails_again(connection: sqlite3.Connection, key: str, *, bound_to_fail: int) -> bool:
    if not bound_to_fail:
        return False
    updated = connection.execute(
        "INSERT INTO failures (key, count) VALUES (?, 1)"
        " ON CONFLICT (key) DO UPDATE SET count = count + 1 WHERE count < ?",
        (key, bound_to_fail),
    )
    return updated.rowcount == 1
