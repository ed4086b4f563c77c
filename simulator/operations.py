"""What can be done with money. Each operation runs inside the transaction that also stores its answer."""

import sqlite3
import uuid
from dataclasses import dataclass
from typing import Any, Protocol, Self

from simulator import books, fields
from simulator.cards import DECLINE_REASONS, Behaviour
from simulator.errors import RequestRefused
from simulator.faults import Faults


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A definite outcome, also a refusal: it is stored and given again for the same key."""

    status_code: int
    body: dict[str, Any]


class Operation(Protocol):
    """A request whose fields are valid."""

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Self:
        """Raises `RequestRefused` naming the field."""

    def behaviour(self, connection: sqlite3.Connection) -> Behaviour | None:
        """How the card concerned behaves; None where there is none."""

    def run(self, connection: sqlite3.Connection, *, key: str, faults: Faults) -> Answer:
        """Carries the operation out; raises `RequestRefused` where its authorization does not exist."""


@dataclass(frozen=True, kw_only=True)
class Authorize:
    """Hold an amount on a card."""

    token: str
    amount: int
    currency: str
    reference: str

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Self:
        return cls(
            token=fields.text(body, "token"),
            amount=fields.amount(body),
            currency=fields.currency(body),
            reference=fields.text(body, "reference"),
        )

    def behaviour(self, connection: sqlite3.Connection) -> Behaviour | None:
        return books.behaviour_of_token(connection, self.token)

    def run(self, connection: sqlite3.Connection, *, key: str, faults: Faults) -> Answer:
        reason = self._reason_to_decline(connection, key, faults)
        if reason is not None:
            return Answer(status_code=402, body={"status": "declined", "reason": reason})
        authorization = f"auth_{uuid.uuid4().hex}"
        connection.execute(
            "INSERT INTO authorizations (id, key, token, reference, currency, authorized)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (authorization, key, self.token, self.reference, self.currency, self.amount),
        )
        return Answer(status_code=200, body={"id": authorization, "status": "authorized"})

    def _reason_to_decline(self, connection: sqlite3.Connection, key: str, faults: Faults) -> str | None:
        if connection.execute("SELECT 1 FROM closed_keys WHERE key = ?", (key,)).fetchone():
            return "cancelled"
        behaviour = self.behaviour(connection)
        if behaviour is None:
            return "unknown_token"
        if faults.declines(key):
            return "card_declined"
        return DECLINE_REASONS.get(behaviour)


@dataclass(frozen=True, kw_only=True)
class Capture:
    """Take the whole amount that is held."""

    authorization: str
    amount: int
    currency: str

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Self:
        return cls(
            authorization=fields.text(body, "authorization"),
            amount=fields.amount(body),
            currency=fields.currency(body),
        )

    def behaviour(self, connection: sqlite3.Connection) -> Behaviour | None:
        row = books.authorization_by_id(connection, self.authorization)
        return None if row is None else Behaviour(row["behaviour"])

    def run(self, connection: sqlite3.Connection, *, key: str, faults: Faults) -> Answer:
        row = _existing(connection, self.authorization)
        reason = self._reason_to_refuse(row)
        if reason is not None:
            return Answer(status_code=402, body={"status": "refused", "reason": reason})
        connection.execute(
            "UPDATE authorizations SET status = 'captured', captured = authorized WHERE position = ?",
            (row["position"],),
        )
        return Answer(status_code=200, body={"status": "captured"})

    def _reason_to_refuse(self, row: sqlite3.Row) -> str | None:
        if row["status"] == "voided":
            return "voided"
        if row["status"] == "captured":
            return "already_captured"
        if row["currency"] != self.currency:
            return "wrong_currency"
        if row["authorized"] != self.amount:
            return "wrong_amount"
        if row["behaviour"] == Behaviour.CAPTURE_REFUSED:
            return "card_refused"
        return None


@dataclass(frozen=True, kw_only=True)
class Void:
    """Release whatever is held under an authorization's key, and let nothing be held under it later."""

    authorization_key: str

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Self:
        return cls(authorization_key=fields.text(body, "authorization_key"))

    def behaviour(self, connection: sqlite3.Connection) -> Behaviour | None:
        row = books.authorization_by_key(connection, self.authorization_key)
        return None if row is None else Behaviour(row["behaviour"])

    def run(self, connection: sqlite3.Connection, *, key: str, faults: Faults) -> Answer:
        row = books.authorization_by_key(connection, self.authorization_key)
        if row is None:
            connection.execute(
                "INSERT INTO closed_keys (key) VALUES (?) ON CONFLICT DO NOTHING", (self.authorization_key,)
            )
            return Answer(status_code=200, body={"status": "nothing_to_void"})
        if row["status"] == "captured":
            refusal = RequestRefused(
                409,
                "authorization_captured",
                f"The authorization {row['id']} is captured and can no longer be voided. Refund it instead.",
            )
            return Answer(status_code=refusal.status, body=refusal.document())
        connection.execute(
            "UPDATE authorizations SET status = 'voided' WHERE position = ?", (row["position"],)
        )
        return Answer(status_code=200, body={"status": "voided"})


@dataclass(frozen=True, kw_only=True)
class Refund:
    """Give back captured money, whole or in part."""

    authorization: str
    amount: int
    currency: str

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Self:
        return cls(
            authorization=fields.text(body, "authorization"),
            amount=fields.amount(body),
            currency=fields.currency(body),
        )

    def behaviour(self, connection: sqlite3.Connection) -> Behaviour | None:
        row = books.authorization_by_id(connection, self.authorization)
        return None if row is None else Behaviour(row["behaviour"])

    def run(self, connection: sqlite3.Connection, *, key: str, faults: Faults) -> Answer:
        row = _existing(connection, self.authorization)
        reason = None
        if row["currency"] != self.currency:
            reason = "wrong_currency"
        elif row["refunded"] + self.amount > row["captured"]:
            reason = "exceeds_captured"
        if reason is not None:
            return Answer(status_code=402, body={"status": "refused", "reason": reason})
        connection.execute(
            "UPDATE authorizations SET refunded = refunded + ? WHERE position = ?",
            (self.amount, row["position"]),
        )
        return Answer(status_code=200, body={"status": "refunded"})


OPERATIONS: dict[str, type[Operation]] = {
    "authorizations": Authorize,
    "captures": Capture,
    "voids": Void,
    "refunds": Refund,
}


def _existing(connection: sqlite3.Connection, authorization: str) -> sqlite3.Row:
    row = books.authorization_by_id(connection, authorization)
    if row is None:
        raise RequestRefused(
            404,
            "unknown_authorization",
            f"There is no authorization {authorization!r}. Send the id that an authorization answered.",
            field="authorization",
        )
    return row
