"""Circuit breakers: a gateway that fails again and again is left alone, and its messages wait.

A breaker is a row in the service's database, so that all processes of the service see the same. While it is open
nobody asks the gateway but one probe at a time: the delivery that gets the conditional update through. The others
go back into the outbox, the same attempt as before. One of those rows is due when the next probe is, so the outbox
itself brings the probe about; the others have a date far enough behind it, and are made due when the breaker
closes. A probe that fails gives its turn to another waiting message: one that no gateway can digest holds up none.

The pattern is Michael Nygard's (Release It!, 2007).
"""

import logging
import random
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.conf import settings
from django.db import connections, transaction

from eventstore.store import Statement
from messaging import attempts
from messaging.breaker_news import closed_statement, opened_statement
from messaging.delivery import Delivery
from messaging.envelope import Envelope, utc_now
from messaging.outbox_rows import wake_relay_statement

log = logging.getLogger(__name__)

RELEASED_AT_ONCE = 10_000
"""Waiting messages that a closing breaker dates anew, at most; those beyond it come at the dates that they have."""

_IS_OPEN = "SELECT 1 FROM messaging_circuitbreaker WHERE service = %s AND gateway = %s AND state = 'open'"

_FAILURES = """
COALESCE((SELECT failures FROM messaging_circuitbreaker
          WHERE service = %s AND gateway = %s AND state = 'closed'), 0)"""

_NEXT_PROBE = """
SELECT GREATEST(probe_at, probing_until) FROM messaging_circuitbreaker
WHERE service = %s AND gateway = %s AND state = 'open'"""

_PROBE = """
UPDATE messaging_circuitbreaker SET probing_until = %(lease_until)s
WHERE service = %(service)s AND gateway = %(gateway)s AND state = 'open' AND probe_at <= %(now)s
  AND (probing_until IS NULL OR probing_until <= %(now)s)"""

_COUNT = """
INSERT INTO messaging_circuitbreaker AS breaker (service, gateway, state, failures, opened_at, probe_at, last_error)
VALUES (%(service)s, %(gateway)s, CASE WHEN %(most)s <= 1 THEN 'open' ELSE 'closed' END, 1,
        CASE WHEN %(most)s <= 1 THEN %(now)s END, CASE WHEN %(most)s <= 1 THEN %(probe_at)s END, %(error)s)
ON CONFLICT (service, gateway) DO UPDATE SET
    failures = breaker.failures + 1,
    last_error = excluded.last_error,
    state = CASE WHEN breaker.failures + 1 >= %(most)s THEN 'open' ELSE breaker.state END,
    opened_at = CASE WHEN breaker.state = 'closed' AND breaker.failures + 1 >= %(most)s THEN %(now)s
                     ELSE breaker.opened_at END,
    probe_at = CASE WHEN breaker.state = 'closed' AND breaker.failures + 1 >= %(most)s THEN %(probe_at)s
                    ELSE breaker.probe_at END
RETURNING state = 'open', opened_at = %(now)s, failures"""

_POSTPONE = """
UPDATE messaging_circuitbreaker
SET failures = failures + 1, last_error = %(error)s, probing_until = NULL,
    probe_at = %(now)s + LEAST(%(longest)s * interval '1 second',
                               GREATEST(%(first)s * interval '1 second', %(now)s - opened_at))
WHERE service = %(service)s AND gateway = %(gateway)s AND state = 'open' AND probing_until = %(probing_until)s
RETURNING probe_at"""

_NOMINATE = """
UPDATE messaging_outboxmessage SET available_at = %(probe_at)s
WHERE id = (SELECT id FROM messaging_outboxmessage
            WHERE waits_for = %(gateway)s AND service = %(service)s AND available_at > %(probe_at)s
            ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)"""

_WAIT = """
SELECT next_probe, coalesce((SELECT min(available_at) FROM messaging_outboxmessage
                             WHERE waits_for = %(gateway)s AND service = %(service)s) <= next_probe, false)
FROM (SELECT GREATEST(probe_at, probing_until) AS next_probe FROM messaging_circuitbreaker
      WHERE service = %(service)s AND gateway = %(gateway)s AND state = 'open' FOR SHARE) AS breaker"""

_RESET = """
UPDATE messaging_circuitbreaker SET failures = 0
WHERE service = %s AND gateway = %s AND state = 'closed' AND failures > 0"""

_CLOSE = """
UPDATE messaging_circuitbreaker AS breaker
SET state = 'closed', failures = 0, opened_at = NULL, probe_at = NULL, probing_until = NULL
FROM (SELECT id, opened_at FROM messaging_circuitbreaker
      WHERE service = %s AND gateway = %s AND state = 'open' FOR UPDATE) AS before
WHERE breaker.id = before.id
RETURNING before.opened_at"""

_RELEASE = """
UPDATE messaging_outboxmessage AS row
SET waits_for = '', available_at = %(now)s + (place.number - 1) * (interval '1 second' / %(rate)s::float8)
FROM (SELECT id, row_number() OVER (ORDER BY id) AS number
      FROM (SELECT id FROM messaging_outboxmessage WHERE waits_for = %(gateway)s AND service = %(service)s
            ORDER BY id LIMIT %(most)s FOR UPDATE SKIP LOCKED) AS waiting) AS place
WHERE row.id = place.id"""


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """One call: whose, to which gateway, and until when it is the probe of an open breaker, if it is."""

    service: str
    gateway: str
    probing_until: datetime | None = None

    @property
    def database(self) -> str:
        return str(settings.SERVICES[self.service])

    @property
    def names(self) -> dict[str, Any]:
        return {"service": self.service, "gateway": self.gateway}

    def is_open(self) -> Statement:
        """A query that finds a row exactly while the breaker is open."""
        return _IS_OPEN, [self.service, self.gateway]

    def failures(self) -> Statement:
        """An expression for how many calls in a row have failed; 0 while the breaker is open."""
        return _FAILURES, [self.service, self.gateway]


class GatewayAway(Exception):
    """The breaker is open and it is not this delivery's turn to probe: its message has to wait."""

    def __init__(self, asking: Asking) -> None:
        super().__init__(f"{asking.service} leaves the {asking.gateway} alone")
        self.asking = asking


def permitted(asking: Asking, *, now: datetime, lease_until: datetime) -> Asking:
    """The call as it may be made: as any other, or as the one probe, until `lease_until`. In the open transaction.

    Raises `GatewayAway`. Of several deliveries at once one becomes the probe; if it dies, another may from
    `lease_until` on.
    """
    with connections[asking.database].cursor() as cursor:
        cursor.execute(_NEXT_PROBE, [asking.service, asking.gateway])
        found = cursor.fetchone()
        if found is None:
            return asking
        if found[0] <= now:
            cursor.execute(_PROBE, {**asking.names, "now": now, "lease_until": lease_until})
            if cursor.rowcount:
                return msgspec.structs.replace(asking, probing_until=lease_until)
    raise GatewayAway(asking)


def wait(asking: Asking, *, envelope: Envelope, delivery: Delivery) -> None:
    """Put the message back, the same attempt, until the breaker closes or its turn to probe has come.

    In the open transaction. The breaker cannot close meanwhile, so no waiting message is overlooked; if it has
    closed already, the message is due at once.
    """
    with connections[asking.database].cursor() as cursor:
        cursor.execute(_WAIT, asking.names)
        found = cursor.fetchone()
    available_at, waits_for = utc_now(), ""
    if found is not None:
        next_probe, is_probe_due = found
        floor = timedelta(seconds=settings.BREAKER_LONGEST_PAUSE * random.uniform(1, 2))
        available_at, waits_for = next_probe + floor if is_probe_due else next_probe, asking.gateway
    attempts.put_back(
        delivery,
        envelope=envelope,
        service=asking.service,
        attempt=envelope.attempt,
        available_at=available_at,
        waits_for=waits_for,
    )


def failed(asking: Asking, error: Exception, *, now: datetime) -> bool:
    """Count a call that the gateway has not answered; True where its message waits and the attempt does not count.

    In the open transaction. The failure that opens the breaker counts as an attempt, as those before it. That of a
    probe, or of a call which was under way when the breaker opened, does not.
    """
    error_text = f"{type(error).__name__}: {error}"[:2000].replace("\x00", "�")
    with connections[asking.database].cursor() as cursor:
        if asking.probing_until is not None:
            _postpone(asking, cursor, error=error_text, now=now)
            return True
        probe_at = now + timedelta(seconds=settings.BREAKER_FIRST_PAUSE)
        most = settings.BREAKER_FAILURES
        cursor.execute(
            _COUNT, {**asking.names, "now": now, "probe_at": probe_at, "most": most, "error": error_text}
        )
        is_open, is_opened_by_this, failures = cursor.fetchone()
        if is_opened_by_this:
            _tell(cursor, opened_statement(asking.service, asking.gateway, now=now, probe_at=probe_at))
    if is_opened_by_this:
        transaction.on_commit(
            lambda: log.warning(
                "%s: the %s has failed %d times in a row; it is left alone and its messages wait; first probe at "
                "%s. Last error: %s",
                asking.service,
                asking.gateway,
                failures,
                f"{probe_at:%H:%M:%S}",
                error_text,
            ),
            using=asking.database,
        )
    return bool(is_open and not is_opened_by_this)


def answered(asking: Asking, *, now: datetime) -> None:
    """Note that the gateway has answered, whatever it said. In the open transaction, near its end.

    A probe closes the breaker and dates the waiting messages anew, one after the other, oldest first.
    """
    with connections[asking.database].cursor() as cursor:
        if asking.probing_until is None:
            cursor.execute(_RESET, [asking.service, asking.gateway])
            return
        cursor.execute(_CLOSE, [asking.service, asking.gateway])
        closed = cursor.fetchone()
        if closed is None:
            return
        cursor.execute(
            _RELEASE,
            {**asking.names, "now": now, "rate": settings.BREAKER_RELEASE_RATE, "most": RELEASED_AT_ONCE},
        )
        released = cursor.rowcount
        _tell(cursor, closed_statement(asking.service, asking.gateway, now=now))
    transaction.on_commit(
        lambda: log.warning(
            "%s: the %s answers again, after %.1f s; %d waiting messages go on, %g a second",
            asking.service,
            asking.gateway,
            (now - closed[0]).total_seconds(),
            released,
            settings.BREAKER_RELEASE_RATE,
        ),
        using=asking.database,
    )


def _postpone(asking: Asking, cursor: Any, *, error: str, now: datetime) -> None:
    """The next probe comes when as much time has passed again as since the opening, by another message if one waits.

    A probe that has outlived its lease changes nothing: another one may be under way.
    """
    cursor.execute(
        _POSTPONE,
        {
            **asking.names,
            "now": now,
            "probing_until": asking.probing_until,
            "first": settings.BREAKER_FIRST_PAUSE,
            "longest": settings.BREAKER_LONGEST_PAUSE,
            "error": error,
        },
    )
    postponed = cursor.fetchone()
    if postponed is not None:
        cursor.execute(_NOMINATE, {**asking.names, "probe_at": postponed[0]})
        _tell(cursor, opened_statement(asking.service, asking.gateway, now=now, probe_at=postponed[0]))


def _tell(cursor: Any, statement: Statement) -> None:
    """Put the news in the outbox, and wake the relay, also for what else is due now."""
    for sql, parameters in (statement, wake_relay_statement()):
        cursor.execute(sql, parameters)
