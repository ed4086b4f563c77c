"""The failures that a service has recorded of its dead letters, read from that service's database."""

import logging
import time
from collections.abc import Sequence
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import Error, connections

log = logging.getLogger(__name__)

_SELECT = """
SELECT message_id, replay_id, attempt, exception, traceback
FROM messaging_failedattempt WHERE consumer = %s AND message_id = ANY(%s::uuid[])"""
_PAUSE = 5.0
"""Seconds in which a database that did not answer is not asked again."""

Attempt = tuple[UUID, UUID | None, int]
"""Message id, replay id and attempt: what a recorded failure is unique by, within its service."""


class Failure(msgspec.Struct, frozen=True):
    exception: str = ""
    traceback: str = ""


class Failures:
    """One question for each service and batch. A database that is away costs no letter and no wait."""

    def __init__(self) -> None:
        self._away_until: dict[str, float] = {}

    def of(self, service: str, wanted: Sequence[Attempt]) -> dict[Attempt, Failure] | None:
        """What is recorded of these attempts; None where the service's database cannot be asked now."""
        database = settings.SERVICES.get(service)
        if database is None or not wanted:
            return {}
        if time.monotonic() < self._away_until.get(database, 0):
            return None
        try:
            with connections[database].cursor() as cursor:
                cursor.execute(_SELECT, [service, sorted({message_id for message_id, _, _ in wanted})])
                rows = cursor.fetchall()
        except Error as error:
            log.warning("the failures of %s are filled in later: %s", service, str(error).strip())
            if database != "default":
                connections[database].close()
            self._away_until[database] = time.monotonic() + _PAUSE
            return None
        asked = set(wanted)
        return {
            key: Failure(exception, traceback)
            for message_id, replay_id, attempt, exception, traceback in rows
            if (key := (message_id, replay_id, attempt)) in asked
        }
