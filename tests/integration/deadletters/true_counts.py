"""Letters by the hundred, as the collector stores them, and what a count of the table says of them."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from contracts.message import Message
from deadletters.collecting.failures import Attempt, Failure, Failures
from deadletters.collecting.reading import Letter, Received, read
from deadletters.collecting.storing import store
from deadletters.statements import answers
from messaging.envelope import new_message_id, utc_now
from tests.builders import an_envelope, reserve_stock

_DIFFERENCES = """
SELECT group_id, service, state, counted.letters, tallied.letters
FROM (SELECT group_id, service, state, count(*) AS letters FROM deadletters_deadletter GROUP BY 1, 2, 3) AS counted
FULL JOIN (SELECT fingerprint AS group_id, service, state, sum(letters) AS letters
           FROM deadletters_lettertally GROUP BY 1, 2, 3 HAVING sum(letters) <> 0) AS tallied
     USING (group_id, service, state)
WHERE counted.letters IS DISTINCT FROM tallied.letters"""
_DIFFERENCES_BY_HOUR = """
SELECT group_id, hour, counted.letters, tallied.letters
FROM (SELECT group_id, date_trunc('hour', died_at, 'UTC') AS hour, count(*) AS letters
      FROM deadletters_deadletter WHERE died_at >= %s GROUP BY 1, 2) AS counted
FULL JOIN (SELECT fingerprint AS group_id, hour, sum(letters) AS letters
           FROM deadletters_lettertally WHERE hour >= %s GROUP BY 1, 2 HAVING sum(letters) <> 0) AS tallied
     USING (group_id, hour)
WHERE counted.letters IS DISTINCT FROM tallied.letters"""


def differences() -> list[tuple[Any, ...]]:
    """Where sums and counts differ, seen at one moment: by group, service and state."""
    return answers((_DIFFERENCES, []))


def differences_by_hour(since: datetime) -> list[tuple[Any, ...]]:
    """Where the deaths of an hour are not as many as the tallies say."""
    return answers((_DIFFERENCES_BY_HOUR, [since, since]))


class Recorded(Failures):
    """Every failure is this one; None stands for a database that is away."""

    def __init__(self, exception: str | None) -> None:
        super().__init__()
        self.exception = exception

    def of(self, service: str, wanted: Sequence[Attempt]) -> dict[Attempt, Failure] | None:
        if self.exception is None:
            return None
        return {attempt: Failure(self.exception, "") for attempt in wanted}


def a_death(
    *, service: str = "inventory", message: Message | None = None, body: bytes | None = None, **more: Any
) -> Letter:
    """A message of ours that has just died."""
    message = message or reserve_stock(uuid4())
    deaths = [{"reason": "rejected", "queue": service, "exchange": "commands", "routing-keys": ["a.b"]}]
    received = Received(
        service=service,
        properties={"application_headers": {**an_envelope(message, **more).to_headers(), "x-death": deaths}},
        body=body if body is not None else json.dumps([[message.to_payload()], {}, {}]).encode(),
    )
    return read(received, letter_id=new_message_id(), now=utc_now())


def stored(*letters: Letter, exception: str | None = "ValueError: no") -> list[Any]:
    """Their ids, in the order given."""
    store(letters, failures=Recorded(exception))
    return [letter.id for letter in letters]
