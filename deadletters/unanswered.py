"""Replays of which nothing was heard for long: their messages are sent again, under the same replay id.

A queue may have been purged, an outbox row deleted, a report of success discarded: then nobody would ever tell what
became of the letter. What was handled has no second effect, and reports its success anew; what was not is handled now.
"""

import logging
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from deadletters.errors import Unreplayable
from deadletters.outgoing import SERVICE, body_of, replay_of
from deadletters.statements import answers
from messaging.unit_of_work import unit_of_work

log = logging.getLogger(__name__)

PATIENCE = timedelta(hours=1)
"""A replay is sent again when it has not been answered for so long since it was due, and so on."""
MOST = 500
"""Replays that one run sends again."""

# Letters before replays, as everybody locks them; what somebody is concluding right now is left to him.
_UNANSWERED = """
WITH waiting AS MATERIALIZED (
    SELECT letter.id AS letter_id FROM deadletters_deadletter AS letter
    WHERE letter.state = 'replaying' AND letter.id IN (
        SELECT letter_id FROM deadletters_replay WHERE outcome = 'open' AND available_at < %s
        ORDER BY available_at LIMIT %s)
    ORDER BY letter.id FOR UPDATE SKIP LOCKED
), sent AS (
    UPDATE deadletters_replay AS replay SET available_at = %s
    FROM waiting WHERE replay.letter_id = waiting.letter_id AND replay.outcome = 'open' AND replay.available_at < %s
    RETURNING replay.id, replay.letter_id
)
SELECT sent.id, letter.id, letter.service, letter.headers::text, letter.body, letter.deaths::text,
       edit.after::text, edit.message_id
FROM sent JOIN deadletters_deadletter AS letter ON letter.id = sent.letter_id
LEFT JOIN deadletters_letteredit AS edit ON edit.replay_id = sent.id
ORDER BY letter.id"""


def send_again(*, at: datetime) -> list[UUID]:
    """Send the messages of replays again that have waited for an answer for `PATIENCE`; returns their letters' ids."""
    before = at - PATIENCE
    found: list[UUID] = []
    with unit_of_work(SERVICE) as work:
        for replay_id, letter_id, service, headers, body, deaths, after, message_id in answers(
            (_UNANSWERED, [before, MOST, at, before])
        ):
            try:
                message = replay_of(
                    service=service,
                    headers=msgspec.json.decode(headers),
                    body=bytes(body) if after is None else body_of(msgspec.json.decode(after)),
                    deaths=msgspec.json.decode(deaths),
                    replay_id=replay_id,
                    available_at=at,
                    message_id=message_id,
                )
            except Unreplayable as error:  # a release that reads headers in another way
                log.error("the letter %s was replayed and cannot be sent again: %s", letter_id, error)
                continue
            work.outgoing.append(message)
            found.append(letter_id)
    if found:
        log.warning("%d replays had no answer for %s, and are sent again", len(found), PATIENCE)
    return found
