"""What became of a command? A saga that has waited for its reply in vain asks, before it concludes anything.

The answer is looked for where the command would have left it: under its idempotency key, and then with the gateway. A
question changes nothing but what is unknown. Its own key makes it answered once, with the same answer to a duplicate.
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import Error

from contracts.message import Event, Message
from messaging import breaker, idempotency
from messaging.answering import CallUnderWay, answer_again, finish, report_replay
from messaging.breaker import Asking
from messaging.calls import Begun
from messaging.envelope import Envelope, utc_now
from messaging.errors import PermanentError
from messaging.handling import QuestionHandler
from messaging.in_place import repeated_in_place
from messaging.metrics import Outcome
from messaging.settlement import CallFailed
from messaging.unit_of_work import UnitOfWork, unit_of_work


def run(handler: QuestionHandler, question: Message, *, envelope: Envelope) -> Outcome:
    """Answer, in one transaction where the service knows, else in one before and one after asking the gateway.

    Raises what `consumer.run` does, and `PermanentError` where the question is about no command of a saga.
    """
    action = idempotency.asked_about(envelope.idempotency_key)
    if action is None:
        raise PermanentError(
            f"{envelope.type} has the key {envelope.idempotency_key!r}, which is about no command of a saga."
        )
    with unit_of_work(handler.service, cause=envelope) as work:
        begun = _look(handler, question, action, envelope=envelope, work=work)
        if not isinstance(begun, Begun):
            report_replay(envelope, work=work)
            return begun
    is_answered = False
    try:
        outcome = handler.find(action)
        is_answered = True
        _conclude(handler, question, outcome, action=action, begun=begun, envelope=envelope)
    except (CallUnderWay, Error):
        raise
    except Exception as error:
        release = idempotency.release_statement(
            action, fence=begun.fence, consumer=handler.service, now=utc_now()
        )
        raise CallFailed(error, asking=begun.asking, release=release, is_answered=is_answered) from error
    return Outcome.HANDLED


def _look(
    handler: QuestionHandler, question: Message, action: str, *, envelope: Envelope, work: UnitOfWork
) -> Begun | Outcome:
    """Answer what the service itself knows; else hold the action's call, which nobody makes any more, to ask for it."""
    names: dict[str, Any] = {"consumer": handler.service, "database": work.database}
    own = envelope.idempotency_key
    asked_before = idempotency.look_up(own, **names)
    if asked_before is not None:
        answer_again(own, question, work=work)
        return Outcome.DUPLICATE
    held = idempotency.look_up(action, **names)
    if held is None or (held.state == "finished" and held.reply is None):
        _answer(handler.nothing(question), own, envelope=envelope, work=work)
        return Outcome.HANDLED
    if held.state == "finished":
        _claim(own, envelope=envelope, work=work)
        answer_again(action, question, work=work)
        work.add_statement(
            idempotency.finish_statement([own], reply=held.reply, consumer=handler.service, now=work.now)
        )
        return Outcome.HANDLED
    if held.lease_until is not None and held.lease_until > work.now:
        raise CallUnderWay(held.lease_until)
    lease_until = work.now + timedelta(seconds=settings.GATEWAY_LEASE)
    asking = breaker.permitted(
        Asking(service=handler.service, gateway=handler.gateway), now=work.now, lease_until=lease_until
    )
    fence = idempotency.take_over(action, lease_until=lease_until, **names)
    return Begun(held.request or {}, fence, asking)


def _conclude(
    handler: QuestionHandler,
    question: Message,
    outcome: Any | None,
    *,
    action: str,
    begun: Begun,
    envelope: Envelope,
) -> None:
    """Store what the gateway answered, as the command itself would; what passes by itself is repeated here."""

    def store() -> None:
        with unit_of_work(handler.service, cause=envelope) as work:
            _store(handler, question, outcome, action=action, begun=begun, envelope=envelope, work=work)
            report_replay(envelope, work=work)

    repeated_in_place(store)


def _store(
    handler: QuestionHandler,
    question: Message,
    outcome: Any | None,
    *,
    action: str,
    begun: Begun,
    envelope: Envelope,
    work: UnitOfWork,
) -> None:
    own = envelope.idempotency_key
    failures = idempotency.hold(
        action,
        fence=begun.fence,
        consumer=handler.service,
        database=work.database,
        seeing=begun.asking.failures(),
    )
    if failures is None:
        # The command has come again, or its compensation has closed it: what is true now is looked up anew.
        raise CallUnderWay(work.now)
    if failures or begun.asking.probing_until is not None:
        breaker.answered(begun.asking, now=work.now)
    if outcome is None:
        # The command may still come again: it need not wait for the lease then.
        work.add_statement(
            idempotency.release_statement(action, fence=begun.fence, consumer=handler.service, now=work.now)
        )
        _answer(handler.nothing(question), own, envelope=envelope, work=work)
    else:
        _answer(handler.conclude(question, outcome), own, action, envelope=envelope, work=work)


def _answer(event: Event, *keys: str, envelope: Envelope, work: UnitOfWork) -> None:
    """Keep the event as the reply under these keys, the question's own first."""
    _claim(keys[0], envelope=envelope, work=work)
    finish(work, event, list(keys))


def _claim(own: str, *, envelope: Envelope, work: UnitOfWork) -> None:
    """Raises `CallUnderWay` where the question has been answered between two looks: it comes back and finds that.

    Raises `Expired` where the question is too old to be told apart from one that was answered.
    """
    consumer, database = work.service, work.database
    if not idempotency.claim([own], envelope=envelope, consumer=consumer, database=database, now=work.now):
        idempotency.lock(own, consumer=consumer, database=database)
        raise CallUnderWay(work.now)
