"""A dry run: the handler that is installed now, on a letter, in a transaction that is rolled back."""

from uuid import UUID

import msgspec
from django.conf import settings
from django.db import Error, connections

from deadletters.collecting.fingerprint import fingerprint
from deadletters.errors import InTransaction, Unreplayable
from deadletters.models import DeadLetter
from deadletters.rehearsals import verdicts
from deadletters.rehearsals.rehearsal import End, GatewayCall, Told, Write, handle, rehearses
from messaging.attempts import written
from messaging.database import is_away, is_busy, is_repeatable

__all__ = ["DryRun", "GatewayCall", "Told", "Write", "dry_run", "handle", "rehearses"]


class DryRun(msgspec.Struct, frozen=True, kw_only=True):
    """What would happen. `verdict` is one sentence; where it fails, `exception` and `traceback` say how.

    Where `is_tried` is false, the database stood in the way, or the message cannot be read: nothing is known of
    the handler. `decided` are sentences about what a saga would make of it. Bodies and requests are as the handler
    has them: whoever shows them hides what is personal.
    """

    letter_id: UUID
    service: str
    type: str
    would_succeed: bool
    verdict: str
    is_tried: bool = True
    exception: str = ""
    traceback: str = ""
    is_same_failure: bool = False
    decided: list[str] = []
    writes: list[Write] = []
    told: list[Told] = []
    gateway_calls: list[GatewayCall] = []


def dry_run(letter_id: UUID) -> DryRun:
    """Run it and undo it. Nothing is sent, no gateway is asked, no key stays claimed.

    Raises `DeadLetter.DoesNotExist`, and `InTransaction` where the service's database is in a transaction here.
    """
    letter = DeadLetter.objects.select_related("group").get(id=letter_id)
    try:
        handled = handle(letter.service, letter.headers, bytes(letter.body))
    except InTransaction:
        raise
    except Unreplayable as error:
        return _failed(letter, error, verdict=str(error), is_tried=False)
    except Error as error:
        return _refused(letter, error)
    except Exception as error:  # whatever a handler raises is the answer
        return _failed(letter, error)
    return DryRun(
        letter_id=letter.id,
        service=letter.service,
        type=letter.type,
        would_succeed=handled.end in (End.DONE, End.ANSWERED),
        verdict=verdicts.of(handled),
        decided=handled.decided,
        writes=handled.writes,
        told=handled.told,
        gateway_calls=handled.gateway_calls,
    )


def _refused(letter: DeadLetter, error: Error) -> DryRun:
    """What the database says may be about itself, or about what the handler does."""
    database: str = settings.SERVICES[letter.service]
    if is_away(error, database=database):
        connections[database].close()
        return _failed(letter, error, verdict=verdicts.AWAY.format(service=letter.service), is_tried=False)
    if is_busy(error) or is_repeatable(error):
        return _failed(letter, error, verdict=verdicts.BUSY, is_tried=False)
    return _failed(letter, error)


def _failed(letter: DeadLetter, error: Exception, *, verdict: str = "", is_tried: bool = True) -> DryRun:
    exception, traceback = written(error)
    now = fingerprint(
        wire_type=letter.type,
        exception=exception,
        traceback=traceback,
        reason=letter.reason,
        service=letter.service,
    )
    is_same = now.digest == letter.group_id and not verdict
    return DryRun(
        letter_id=letter.id,
        service=letter.service,
        type=letter.type,
        would_succeed=False,
        is_tried=is_tried,
        verdict=verdict or verdicts.of_failure(exception, is_same=is_same, is_known=bool(letter.exception)),
        exception=exception,
        traceback=traceback,
        is_same_failure=is_same,
    )
