"""What is there at the end of a run, gathered from the databases, the broker, the gateway and the mail folder."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chaos import gateway, mails
from chaos.broker import DEAD, Broker
from chaos.databases import Databases
from chaos.verdict import Found, Letter, Order

LETTERS = "deadletters_deadletter"
PEEKED = 20

FINISHED = "SELECT count(*) FROM orders_order WHERE status <> 'pending'"
UNFINISHED_SAGAS = "SELECT count(*) FROM sagas_sagarecord WHERE finished_at IS NULL"
OUTBOX = "SELECT count(*) FROM messaging_outboxmessage"
HELD_BACK = "SELECT count(*) FROM messaging_heldbackmessage"
OPEN_BREAKERS = "SELECT gateway FROM messaging_circuitbreaker WHERE state = 'open'"
LETTERS_IN_HAND = f"SELECT count(*) FROM {LETTERS} WHERE state = 'replaying'"  # noqa: S608

_ORDERS = "SELECT id::text, status, total_amount FROM orders_order ORDER BY placed_at"
_RETRIES = "SELECT consumer, count(*) FROM messaging_failedattempt GROUP BY consumer"
_FAILURES = """
SELECT consumer, type, left(exception, 120), count(*) FROM messaging_failedattempt
GROUP BY consumer, type, left(exception, 120) ORDER BY count(*) DESC LIMIT 10"""
_LETTERS = f"""
SELECT service, type, reason, left(exception, 200), state, correlation_id FROM {LETTERS}
WHERE state IN ('open', 'replaying') ORDER BY died_at"""  # noqa: S608
_LETTERS_EVER = f"SELECT reason, state, count(*) FROM {LETTERS} GROUP BY reason, state"  # noqa: S608
_AUTOMATIC = "SELECT outcome, count(*) FROM deadletters_replay WHERE is_automatic GROUP BY outcome"


class Findings:
    """The shop's state, asked from outside."""

    def __init__(self, *, databases: Databases, broker: Broker, gateway_url: str, emails: Path) -> None:
        self._databases = databases
        self._broker = broker
        self._gateway_url = gateway_url
        self._emails = emails

    def finished(self) -> int:
        """How many orders are finished."""
        return self._databases.number("orders", FINISHED)

    def restless(self) -> list[str]:
        """What is still under way, as sentences; none when the shop is at rest."""
        databases = self._databases
        found = {
            "sagas are unfinished": databases.number("default", UNFINISHED_SAGAS),
            "messages are in the outboxes": databases.total(OUTBOX),
            "events are held back": databases.total(HELD_BACK),
            "circuit breakers are open": len(self._open_breakers()),
            "dead letters are being replayed": (
                databases.number("default", LETTERS_IN_HAND) if self._has_letters() else 0
            ),
        }
        waiting = [f"{count} {what}" for what, count in found.items() if count]
        if not waiting:  # The broker's own command costs more than all the questions before.
            waiting = [f"{count} messages are in {name}" for name, count in self._queues().items() if count]
        return waiting

    def gather(
        self,
        *,
        wanted: int,
        placing: Mapping[str, Any] | None,
        audit: Mapping[str, Any],
        unended: Sequence[str],
    ) -> Found:
        databases = self._databases
        return Found(
            wanted=wanted,
            orders=[
                Order(id=row[0], status=row[1], total=row[2]) for row in databases.ask("orders", _ORDERS)
            ],
            placing=placing,
            audit=audit,
            unfinished_sagas=databases.number("default", UNFINISHED_SAGAS),
            outbox={name: databases.number(name, OUTBOX) for name in databases.names},
            queues=self._queues(),
            held_back=databases.total(HELD_BACK),
            open_breakers=self._open_breakers(),
            letters=self._letters(),
            mails=list(mails.read(self._emails)),
            books=gateway.books(self._gateway_url),
            unended=unended,
        )

    def retries(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for name in self._databases.names:
            counts.update(dict(self._databases.ask(name, _RETRIES)))
        return dict(counts)

    def failures(self) -> list[tuple[str, str, str, int]]:
        rows = [row for name in self._databases.names for row in self._databases.ask(name, _FAILURES)]
        return [tuple(row) for row in sorted(rows, key=lambda row: -row[3])[:12]]

    def letters_ever(self) -> list[tuple[str, str, int]]:
        """Reason, state and number of all dead letters of the run."""
        stored = self._databases.ask("default", _LETTERS_EVER) if self._has_letters() else []
        waiting = Counter((letter.reason, letter.state) for letter in self._in_dead_queues())
        return [*stored, *((reason, state, count) for (reason, state), count in waiting.items())]

    def automatic_replays(self) -> dict[str, int]:
        return dict(self._databases.ask("default", _AUTOMATIC)) if self._has_letters() else {}

    def database_version(self) -> str:
        return str(self._databases.ask("default", "SHOW server_version")[0][0]).split()[0]

    def _queues(self) -> dict[str, int]:
        """The service queues; what lies in the dead-letter queues is told as letters."""
        return {name: count for name, count in self._broker.depths().items() if not name.endswith(DEAD)}

    def _open_breakers(self) -> list[str]:
        databases = self._databases
        return sorted(row[0] for name in databases.names for row in databases.ask(name, OPEN_BREAKERS))

    def _has_letters(self) -> bool:
        return self._databases.has_table("default", LETTERS)

    def _letters(self) -> list[Letter]:
        stored = self._databases.ask("default", _LETTERS) if self._has_letters() else []
        return [
            *(
                Letter(
                    queue=service,
                    type=wire_type,
                    reason=reason,
                    cause=f"{exception} (order {order})",
                    state=state,
                )
                for service, wire_type, reason, exception, state, order in stored
            ),
            *self._in_dead_queues(),
        ]

    def _in_dead_queues(self) -> list[Letter]:
        found = []
        for name, count in self._broker.depths().items():
            if not (name.endswith(DEAD) and count):
                continue
            for message in self._broker.peek(name, most=PEEKED):
                headers = message.properties.get("application_headers", {})
                deaths = headers.get("x-death") or [{}]
                found.append(
                    Letter(
                        queue=name.removesuffix(DEAD),
                        type=str(headers.get("type", "")),
                        reason=str(deaths[0].get("reason", "")),
                        cause=f"(order {headers.get('correlation_id', 'unknown')})",
                        state="not collected",
                    )
                )
        return found


def read_json(text: str) -> dict[str, Any] | None:
    """The JSON object in the last line of a command's output; None where there is none."""
    for line in reversed(text.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        return found if isinstance(found, dict) else None
    return None
