"""What becomes of a delivery that could not be handled: repeated later, or moved to the dead letters."""

import logging
from typing import NoReturn

from django.conf import settings
from django.db import DataError, Error, connections, transaction

from eventstore.admin_privacy import private_values
from eventstore.private_text import scrubbed
from eventstore.store import Statement
from messaging import attempts, breaker
from messaging.breaker import Asking
from messaging.database import wait_until_back
from messaging.delivery import Delivery
from messaging.envelope import Envelope, utc_now
from messaging.errors import InvalidMessage, MessagingError
from messaging.failpoints import failpoint
from messaging.handling import policy_of
from messaging.policies import RetryPolicy

log = logging.getLogger(__name__)


class Rejected(MessagingError):
    """The broker is to move the message to the dead letters; why is recorded."""


class CallFailed(Exception):
    """A handler failed around its call to a gateway. `release` lets the next attempt ask again without waiting.

    `is_answered` where the gateway did its part and what came afterwards failed.
    """

    def __init__(self, error: Exception, *, asking: Asking, release: Statement, is_answered: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.asking = asking
        self.release = release
        self.is_answered = is_answered


def in_a_log(error: Exception, *deliveries: Delivery) -> str:
    """What the error says, without what these messages say of customers: the record of the attempt has all of it."""
    known = (value for delivery in deliveries for value in private_values(delivery.payload))
    return scrubbed(str(error), known=known)


def reject_unreadable(error: InvalidMessage, *, delivery: Delivery, service: str) -> NoReturn:
    """Record, where it has an envelope at all, a message that cannot be understood; raises `Rejected`."""
    log.error("%s: rejected a message that cannot be read: %s", service, in_a_log(error, delivery))
    try:
        envelope = Envelope.from_headers(delivery.headers)
    except InvalidMessage:
        raise Rejected(str(error)) from error
    while True:
        settle_failure(error, envelope=envelope, delivery=delivery, service=service)


def is_settled(envelope: Envelope, *, service: str) -> bool:
    """Whether this very attempt has failed and been recorded before the broker could be told."""
    known = attempts.recorded(envelope, service=service)
    if known is None:
        return False
    if known.next_attempt_at is None:
        raise Rejected(f"attempt {envelope.attempt} was the last and is recorded")
    return True


def settle_failure(failure: Exception, *, envelope: Envelope, delivery: Delivery, service: str) -> bool:
    """Record the failure; True when the delivery may be acknowledged, False when it is to be tried here again.

    Raises `Rejected` where no further attempt is made.
    """
    if isinstance(failure, Rejected):
        raise failure
    error = failure.error if isinstance(failure, CallFailed) else failure
    policy = policy_of(service, envelope.type)
    is_final = policy.is_last(envelope.attempt, error)
    pause = None if is_final else policy.pause_before(envelope.attempt + 1)
    try:
        with transaction.atomic(using=settings.SERVICES[service]):
            if isinstance(failure, CallFailed) and _has_to_wait(failure, policy):
                breaker.wait(failure.asking, envelope=envelope, delivery=delivery)
                return True
            attempts.record(error, envelope=envelope, delivery=delivery, service=service, pause=pause)
    except (DataError, ValueError) as refusal:
        # The headers hold what no column takes: the broker keeps the message, the log says why.
        raise Rejected(f"{error}; and the failure cannot be recorded: {refusal}") from error
    except Error as refusal:
        log.warning("%s: the failure cannot be recorded yet, trying again: %s", service, str(refusal).strip())
        wait_until_back(settings.SERVICES[service])
        return False
    failpoint("attempt.committed")
    log.warning(
        "%s %s: attempt %s of %s failed, %s: %s: %s",
        envelope.type,
        envelope.message_id,
        envelope.attempt,
        policy.attempts,
        "given up" if is_final else "to be repeated",
        type(error).__name__,
        in_a_log(error, delivery),
    )
    if is_final:
        raise Rejected(f"{type(error).__name__}: {error}") from error
    return True


def _has_to_wait(failure: CallFailed, policy: RetryPolicy) -> bool:
    """Give the call back and tell the breaker, in the open transaction; True where this was no attempt."""
    with connections[failure.asking.database].cursor() as cursor:
        cursor.execute(*failure.release)
    if failure.is_answered or policy.is_permanent(failure.error):
        breaker.answered(failure.asking, now=utc_now())
        return False
    return breaker.failed(failure.asking, failure.error, now=utc_now())
