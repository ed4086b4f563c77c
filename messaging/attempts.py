"""Failed attempts: recorded, and repeated through the outbox after a pause that grows."""

import traceback
from datetime import datetime, timedelta

import msgspec
from django.conf import settings
from django.db import connections

from messaging.delivery import Delivery
from messaging.envelope import Envelope, utc_now
from messaging.failpoints import failpoint
from messaging.outbox_rows import OutgoingMessage, insert_statement, wake_relay_statement
from messaging.quoted_rows import without_rows

_RECORD = """
INSERT INTO messaging_failedattempt (consumer, message_id, replay_id, attempt, type, correlation_id, exception,
                                     traceback, failed_at, next_attempt_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (consumer, message_id, replay_id, attempt) DO NOTHING
RETURNING id"""

_RECORDED = """
SELECT next_attempt_at FROM messaging_failedattempt
WHERE consumer = %s AND message_id = %s AND replay_id IS NOT DISTINCT FROM %s AND attempt = %s"""


class Recorded(msgspec.Struct, frozen=True):
    """An attempt that has failed already; `next_attempt_at` is None where it was the last."""

    next_attempt_at: datetime | None


def recorded(envelope: Envelope, *, service: str) -> Recorded | None:
    """What is recorded of this very attempt; None where nothing is."""
    with connections[settings.SERVICES[service]].cursor() as cursor:
        cursor.execute(_RECORDED, [service, envelope.message_id, envelope.replay_id, envelope.attempt])
        row = cursor.fetchone()
    return None if row is None else Recorded(row[0])


def record(
    error: BaseException,
    *,
    envelope: Envelope,
    delivery: Delivery,
    service: str,
    pause: timedelta | None,
) -> None:
    """Record a failed attempt and put the next one, after `pause`, in the outbox, in the open transaction.

    Without a pause there is no next one. Repeating it for the same attempt changes nothing.
    """
    database: str = settings.SERVICES[service]
    now = utc_now()
    next_attempt_at = None if pause is None else now + pause
    with connections[database].cursor() as cursor:
        cursor.execute(
            _RECORD,
            [
                service,
                envelope.message_id,
                envelope.replay_id,
                envelope.attempt,
                envelope.type.replace("\x00", "�"),
                envelope.correlation_id.replace("\x00", "�"),
                *written(error),
                now,
                next_attempt_at,
            ],
        )
        is_first_record = cursor.fetchone() is not None
    failpoint("attempt.recorded")
    if is_first_record and next_attempt_at is not None:
        put_back(
            delivery,
            envelope=envelope,
            service=service,
            attempt=envelope.attempt + 1,
            available_at=next_attempt_at,
        )


def written(error: BaseException) -> tuple[str, str]:
    """The exception and its traceback as they are recorded: without what PostgreSQL quotes of rows, and bounded."""
    exception = without_rows(f"{type(error).__name__}: {error}")[:2000]
    told = without_rows("".join(traceback.format_exception(error)))[-20_000:]
    return exception.replace("\x00", "�"), told.replace("\x00", "�")


def put_back(
    delivery: Delivery,
    *,
    envelope: Envelope,
    service: str,
    attempt: int,
    available_at: datetime,
    waits_for: str = "",
) -> None:
    """Put the message in the outbox for this service's queue alone, in the open transaction.

    `waits_for` names the gateway whose circuit breaker has to close first.
    """
    again = OutgoingMessage(
        envelope=envelope.following(attempt=attempt, came_by=(delivery.exchange, delivery.routing_key)),
        body=delivery.payload,
        service=service,
        exchange="",
        routing_key=service,
        available_at=available_at,
    )
    statements = [insert_statement([again], waits_for=waits_for), wake_relay_statement()]
    with connections[settings.SERVICES[service]].cursor() as cursor:
        cursor.execute(
            ";".join(sql for sql, _ in statements), [value for _, values in statements for value in values]
        )
