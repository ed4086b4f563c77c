"""A message handled as its service's consumer would, by the handler that is installed now, and all of it undone.

What differs from the consumer's way: both transactions of a handler that asks a gateway are one, the gateway is not
asked, and no circuit breaker is asked or told.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from django.conf import settings
from django.db import Error, connections

from contracts.message import Message
from contracts.operations import ReplaySucceeded
from deadletters.collecting.reading import message_in
from deadletters.errors import Unreplayable
from deadletters.rehearsals import stage
from eventstore.errors import ConcurrentAppend
from messaging import idempotency, retention, topology
from messaging.answering import CallUnderWay
from messaging.breaker import Asking
from messaging.consumer import run
from messaging.database import is_busy, is_repeatable
from messaging.delivery import Delivery, open_message
from messaging.envelope import Envelope, new_message_id, utc_now
from messaging.handling import AnyHandler, Handler, QuestionHandler, handlers_of
from messaging.metrics import Outcome
from messaging.ordering import order_of
from messaging.outbox_rows import OutgoingMessage
from messaging.rehearsing import rehearsing
from messaging.settlement import CallFailed
from messaging.unit_of_work import UnitOfWork

_REPETITIONS = 3
_BOOKKEEPING = frozenset(
    f"messaging_{name}"
    for name in ("idempotencykey", "outboxmessage", "streamposition", "heldbackmessage", "circuitbreaker")
)
"""Written for every message; what is in them is told otherwise."""
_NO_BREAKER = "rehearsal"
"""A gateway's name that no circuit breaker has: none stops the rehearsal, and none is closed by it."""

_STANDING = f"""
SELECT key.type, key.claimed_at, key.reply IS NOT NULL, {retention.IS_TOO_OLD}
FROM (SELECT 1) AS one LEFT JOIN messaging_idempotencykey AS key ON key.consumer = %s AND key.key = %s"""  # noqa: S608
_POSITION = "SELECT last_sequence FROM messaging_streamposition WHERE consumer = %s AND stream = %s"


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one table that the handler would change; `operation` is INSERT, UPDATE or DELETE."""

    table: str
    operation: str
    rows: int


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A message that would be sent or published; `to` is the queue, or the exchange and routing key."""

    type: str
    to: str
    body: dict[str, Any]
    is_reply: bool = False


class GatewayCall(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway would be asked. It was not asked; `answer` says which answer was assumed instead, in words."""

    gateway: str
    request: dict[str, Any]
    answer: str


class End(StrEnum):
    """How far a message would come."""

    DONE = "done"
    ANSWERED = "answered"
    """From its key, or passed over by an ordered consumer: it was handled before."""
    WAITS = "waits"
    ASKS = "asks"
    """Up to a call whose answer nobody assumes."""


class Handled(msgspec.Struct, frozen=True, kw_only=True):
    """What a message would have come to. `why` says more of an end other than `DONE`, `but` what stands in the way."""

    end: End
    why: str = ""
    but: list[str] = []
    decided: list[str] = []
    writes: list[Write] = []
    told: list[Told] = []
    gateway_calls: list[GatewayCall] = []


class _Own(msgspec.Struct, frozen=True):
    handled: Collection[str]
    rehearse: Callable[[Envelope, Message], list[str]]


class _NobodyAssumes(Exception):
    """The handler comes to its call, and declares no answer to go on with."""


class _Standing(msgspec.Struct, frozen=True):
    """What the service's database says of the message's key; `claimed_by` is the type that claimed it."""

    claimed_by: str | None
    claimed_at: datetime | None
    has_reply: bool
    is_too_old: bool


_own: dict[str, _Own] = {}


def rehearses(
    service: str, *, handled: Collection[str], rehearse: Callable[[Envelope, Message], list[str]]
) -> None:
    """Declare how a service that has a consumer of its own handles a message of these types.

    `rehearse` is called in the transaction that is rolled back, and returns what would be decided, as sentences.
    """
    _own[service] = _Own(handled, rehearse)


def handle(service: str, headers: Mapping[str, Any], body: bytes) -> Handled:
    """Handle the message as a replay of it would be, and undo it.

    Raises what the handler raises; `InvalidMessage` and `Unreplayable` where the message does not get as far as that.
    """
    if service not in settings.SERVICES:
        raise Unreplayable(f"It cannot be handled: this release has no service {service!r}.")
    envelope, payload = message_in(headers, body)
    repetitions = 0
    while True:
        try:
            return _handle(service, envelope, payload)
        except (Error, ConcurrentAppend) as error:
            is_passing = isinstance(error, ConcurrentAppend) or (is_repeatable(error) and not is_busy(error))
            if not is_passing or repetitions >= _REPETITIONS:
                raise
            repetitions += 1


def _handle(service: str, envelope: Envelope, payload: dict[str, Any]) -> Handled:
    again = msgspec.structs.replace(
        envelope.following(attempt=1, came_by=("", "")), replay_id=new_message_id()
    )
    delivery = Delivery(headers=again.to_headers(), payload=payload, exchange="", routing_key=service)
    own = _own.get(service)
    handlers = handlers_of(service)
    _, message = open_message(delivery, handled=own.handled if own is not None else handlers.keys())
    database: str = settings.SERVICES[service]
    calls: list[GatewayCall] = []
    decided: list[str] = []
    failure: Exception | None = None
    with stage.rolled_back(database), rehearsing() as units:
        standing = _standing(envelope, service=service, database=database)
        before = stage.counts(database)
        but = _too_old(standing, service)
        end, why = End.DONE, ""
        try:
            if own is not None:
                decided = own.rehearse(again, message)
                outcome = Outcome.HANDLED if standing.claimed_by is None else Outcome.DUPLICATE
            else:
                handler = handlers[envelope.type]
                but += _breaker(handler, database)
                outcome = run(_uncalled(handler, calls), message, envelope=again, delivery=delivery)
            if outcome is Outcome.DUPLICATE:
                end, why = End.ANSWERED, _answered(envelope, standing, service=service)
            elif outcome is Outcome.HELD_BACK:
                end, why = End.WAITS, _held_back(envelope, service=service, database=database)
        except CallUnderWay as other:
            end, why = End.WAITS, f"another delivery is asking the gateway until {other.until:%H:%M:%S} UTC"
        except CallFailed as failed:
            if not isinstance(failed.error, _NobodyAssumes):
                failure = failed.error
            end, why = End.ASKS, str(failed.error)
        if failure is not None:
            raise failure
        stage.check_constraints(database)
        return Handled(
            end=end,
            why=why,
            but=but,
            decided=decided,
            writes=_writes(before, stage.counts(database)),
            told=_told(units, again, service=service, database=database),
            gateway_calls=calls,
        )


def _uncalled(handler: AnyHandler, calls: list[GatewayCall]) -> AnyHandler:
    """The handler, with the answer that it declares in place of its call to a gateway."""
    if isinstance(handler, Handler):
        return handler
    if isinstance(handler, QuestionHandler):
        return msgspec.structs.replace(handler, find=_found(handler, calls), gateway=_NO_BREAKER)
    assume = handler.rehearse

    def call(request: dict[str, Any], key: str) -> Any:
        if assume is None:
            calls.append(GatewayCall(gateway=handler.gateway, request=request, answer="nothing"))
            raise _NobodyAssumes(f"its call to the {handler.gateway}")
        outcome = assume(request)
        calls.append(GatewayCall(gateway=handler.gateway, request=request, answer=_in_words(outcome)))
        return outcome

    return msgspec.structs.replace(handler, call=call, gateway=_NO_BREAKER)


def _found(handler: QuestionHandler, calls: list[GatewayCall]) -> Callable[[str], Any]:
    """What is assumed to be found with the gateway."""

    def find(key: str) -> Any:
        outcome = handler.rehearse(key)
        answer = "nothing" if outcome is None else _in_words(outcome)
        calls.append(GatewayCall(gateway=handler.gateway, request={"key": key}, answer=answer))
        return outcome

    return find


def _in_words(outcome: Any) -> str:
    if not isinstance(outcome, msgspec.Struct):
        return "done" if outcome is None else str(outcome)
    name = re.sub(r"(?<!^)(?=[A-Z])", " ", type(outcome).__name__).lower()
    fields = [
        f"{field.replace('_', ' ')}: {value}" for field, value in msgspec.structs.asdict(outcome).items()
    ]
    return f"{name} ({', '.join(fields)})" if fields else name


def _standing(envelope: Envelope, *, service: str, database: str) -> _Standing:
    is_ordered = order_of(service, envelope.type) is not None
    with connections[database].cursor() as cursor:
        cursor.execute(
            _STANDING,
            [
                None if is_ordered else retention.dated(envelope),
                service,
                service,
                envelope.idempotency_key,
            ],
        )
        return _Standing(*cursor.fetchone())


def _too_old(standing: _Standing, service: str) -> list[str]:
    if standing.claimed_by is not None or not standing.is_too_old:
        return []
    return [f"it is older than the keys that {service} keeps, so it may have been handled before"]


def _breaker(handler: AnyHandler, database: str) -> list[str]:
    if isinstance(handler, Handler):
        return []
    with connections[database].cursor() as cursor:
        cursor.execute(*Asking(service=handler.service, gateway=handler.gateway).is_open())
        is_open = cursor.fetchone() is not None
    return [f"the {handler.gateway} is left alone at present, so it would wait first"] if is_open else []


def _answered(envelope: Envelope, standing: _Standing, *, service: str) -> str:
    if order_of(service, envelope.type) is not None:
        return f"{service} has passed number {envelope.sequence} of {envelope.stream} already"
    when = "" if standing.claimed_at is None else f" on {standing.claimed_at:%Y-%m-%d at %H:%M:%S} UTC"
    if standing.claimed_by not in (None, envelope.type):
        return f"{standing.claimed_by} has undone it{when}, before it was done"
    if topology.is_command(envelope.type) and standing.claimed_at is not None and not standing.has_reply:
        return f"its key was claimed{when}, and closed without a reply"
    return f"it was handled{when}"


def _held_back(envelope: Envelope, *, service: str, database: str) -> str:
    with connections[database].cursor() as cursor:
        cursor.execute(_POSITION, [service, envelope.stream])
        (position,) = cursor.fetchone()
    return (
        f"it is number {envelope.sequence} of {envelope.stream}, and number {position + 1} is still missing"
    )


def _writes(before: Mapping[tuple[str, str], int], after: Mapping[tuple[str, str], int]) -> list[Write]:
    found = {
        (table, operation): rows - before.get((table, operation), 0)
        for (table, operation), rows in after.items()
        if table not in _BOOKKEEPING
    }
    return [
        Write(table=table, operation=operation, rows=rows)
        for (table, operation), rows in sorted(found.items())
        if rows > 0
    ]


def _told(units: Sequence[UnitOfWork], again: Envelope, *, service: str, database: str) -> list[Told]:
    key = idempotency.look_up(again.idempotency_key, consumer=service, database=database)
    reply = key.reply.envelope.message_id if key is not None and key.reply is not None else None
    told = []
    for work in units:
        sent = {message.envelope.message_id for message in work.outgoing}
        silent = [message for message in work.published if message.envelope.message_id not in sent]
        for message in [*work.outgoing, *silent]:
            if _is_report(message, again):
                continue
            told.append(
                Told(
                    type=message.envelope.type,
                    to=_place(message) if message.envelope.message_id in sent else "the event store alone",
                    body=message.body,
                    is_reply=message.envelope.message_id == reply,
                )
            )
    return told


def _is_report(message: OutgoingMessage, again: Envelope) -> bool:
    """Whether it only closes the letter."""
    return message.envelope.type == ReplaySucceeded.wire_type and message.body["replay_id"] == str(
        again.replay_id
    )


def _place(message: OutgoingMessage) -> str:
    place = f"{message.exchange} {message.routing_key}".strip()
    is_later = message.available_at > utc_now()
    return f"{place}, on {message.available_at:%Y-%m-%d at %H:%M:%S} UTC" if is_later else place
