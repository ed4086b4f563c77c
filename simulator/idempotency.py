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
        if _strikes_again(connection, key, times=faults.failures(key, behaviour)):
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


def look_up(books: Books, key: str, *, faults: Faults) -> Outcome:
    """What was carried out under the key; 404 where nothing was. It changes nothing.

    Faults strike it as a call of its own, independently of those that strike the operation; an outage strikes both.
    """
    if faults.is_out(key):
        return _out_of_order()
    call = f"look-up\0{key}"
    with books.transaction() as connection:
        if _strikes_again(connection, call, times=faults.failures(call, None)):
            return _out_of_order()
        losses = 1 if faults.loses_answer(call, None) else 0
        is_answer_lost = _strikes_again(connection, f"answer\0{key}", times=losses)
        row = connection.execute("SELECT * FROM operations WHERE key = ?", (key,)).fetchone()
    if row is None:
        words = f"Nothing was carried out under the idempotency key {key!r}."
        body = RequestRefused(404, "unknown_key", words).document()
        return Outcome(status_code=404, body=body, is_answer_lost=is_answer_lost)
    found = {
        "key": row["key"],
        "operation": row["kind"],
        "status_code": row["status_code"],
        "response": json.loads(row["response"]),
    }
    return Outcome(status_code=200, body=found, is_answer_lost=is_answer_lost)


def _out_of_order() -> Outcome:
    refusal = RequestRefused(503, "out_of_order", "The gateway is out of order. Nothing was done; repeat.")
    return Outcome(status_code=refusal.status, body=refusal.document())


def _strikes_again(connection: sqlite3.Connection, call: str, *, times: int) -> bool:
    """Whether a fault that strikes this call so many times strikes now."""
    if not times:
        return False
    updated = connection.execute(
        "INSERT INTO failures (key, count) VALUES (?, 1)"
        " ON CONFLICT (key) DO UPDATE SET count = count + 1 WHERE count < ?",
        (call, times),
    )
    return updated.rowcount == 1
