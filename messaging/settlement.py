"""What becomes of a delivery that could not be handled: repeated later, or moved to the dead letters."""

import logging
from typing import NoReturn

from django.conf import settings
from django.db import DataError, Error

from eventstore.store import Statement
from messaging import attempts
from messaging.database import wait_until_back
from messaging.delivery import Delivery
from messaging.envelope import Envelope
from messaging.errors import InvalidMessage, MessagingError, PermanentError
from messaging.failpoints import failpoint

log = logging.getLogger(__name__)


class Rejected(MessagingError):
    """The broker is to move the message to the dead letters; why is recorded."""


class CallFailed(Exception):
    """A gateway could not be asked. The statement lets the next attempt ask again without waiting."""

    def __init__(self, error: Exception, release: Statement) -> None:
        super().__init__(str(error))
        self.error = error
        self.release = release


def reject_unreadable(error: InvalidMessage, *, delivery: Delivery, service: str) -> NoReturn:
    """Record, where it has an envelope at all, a message that cannot be understood; raises `Rejected`."""
    log.error("%s: rejected a message that cannot be read: %s", service, error)
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
    release = None
    if isinstance(failure, CallFailed):
        release = failure.release
        failure = failure.error
    is_final = isinstance(failure, PermanentError) or envelope.attempt >= settings.RETRY_ATTEMPTS
    try:
        attempts.record(
            failure, envelope=envelope, delivery=delivery, service=service, is_final=is_final, also=release
        )
    except (DataError, ValueError) as error:
        # The headers hold what no column takes: the broker keeps the message, the log says why.
        raise Rejected(f"{failure}; and the failure cannot be recorded: {error}") from failure
    except Error as error:
        log.warning("%s: the failure cannot be recorded yet, trying again: %s", service, str(error).strip())
        wait_until_back(settings.SERVICES[service])
        return False
    failpoint("attempt.committed")
    log.warning(
        "%s %s: attempt %s failed, %s: %s: %s",
        envelope.type,
        envelope.message_id,
        envelope.attempt,
        "given up" if is_final else "to be repeated",
        type(failure).__name__,
        failure,
    )
    if is_final:
        raise Rejected(f"{type(failure).__name__}: {failure}") from failure
    return True
