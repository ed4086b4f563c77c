"""What a dead letter says: from the bytes and headers that came to the columns of its row. Pure, and never refuses."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from deadletters.collecting.amqp_values import column, is_storable, to_json
from deadletters.errors import Unreplayable
from messaging.envelope import Envelope
from messaging.errors import InvalidMessage
from messaging.idempotency import action_key
from messaging.topology import is_command

_HEADERS = "application_headers"
_CHANGING = {"x-delivery-count", "x-acquired-count"}
"""Headers that the broker changes whenever it delivers the same letter again."""
_LARGEST = 2**31 - 1
_SAGAS_OWN = "sagas."
DELIVERY_LIMIT = "delivery_limit"


class Received(msgspec.Struct, frozen=True, eq=False):
    """A dead letter as it came from `<service>.dead`: nothing of it has been decoded but AMQP's own framing."""

    service: str
    properties: Mapping[str, Any]
    body: bytes


class OfSaga(msgspec.Struct, frozen=True):
    """Which command of which saga a letter is."""

    saga_id: UUID
    step: str
    step_try: int
    is_compensation: bool
    correlation_id: str


class Letter(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A row to be, without what the recorded failure adds."""

    id: UUID
    death: str
    service: str
    body: bytes
    headers: Any
    died_at: datetime
    properties: Any = {}
    reason: str = ""
    deaths: list[Any] = []
    message_id: UUID | None = None
    type: str = ""
    correlation_id: str = ""
    idempotency_key: str = ""
    saga_id: UUID | None = None
    step: str = ""
    attempt: int | None = None
    replay_id: UUID | None = None
    envelope: Envelope | None = None

    @property
    def of_saga(self) -> OfSaga | None:
        return None if self.envelope is None else saga_command(self.envelope)


def read(received: Received, *, letter_id: UUID, now: datetime) -> Letter:
    """Read as much as can be read; what cannot is empty, and the exact bytes are kept in any case."""
    headers = received.properties.get(_HEADERS)
    headers = headers if isinstance(headers, Mapping) else {}
    deaths = headers.get("x-death")
    deaths = [death for death in deaths if isinstance(death, Mapping)] if isinstance(deaths, list) else []
    last: Mapping[str, Any] = deaths[0] if deaths else {}
    envelope = envelope_of(headers)
    properties = {name: value for name, value in received.properties.items() if name != _HEADERS}
    shown_headers, shown_properties = to_json(headers), to_json(properties)
    return Letter(
        id=letter_id,
        death=_death(
            received, headers, shown_headers, shown_properties=shown_properties, is_ours=envelope is not None
        ),
        service=received.service,
        body=received.body,
        headers=shown_headers,
        properties=shown_properties,
        reason=column(last.get("reason")),
        deaths=to_json(deaths),
        message_id=_first_uuid(headers.get("message_id"), headers.get("id"), properties.get("message_id")),
        type=column(headers.get("type")) or column(headers.get("task")),
        correlation_id=column(headers.get("correlation_id")) or column(properties.get("correlation_id")),
        idempotency_key=column(headers.get("idempotency_key")),
        saga_id=_first_uuid(headers.get("saga_id")),
        step=column(headers.get("step")),
        attempt=_number(envelope.attempt if envelope is not None else headers.get("attempt")),
        replay_id=_first_uuid(headers.get("replay_id")),
        died_at=_time(last.get("time")) or now,
        envelope=envelope,
    )


def bare(received: Received, *, letter_id: UUID, now: datetime, why: str) -> Letter:
    """The letter with its bytes and nothing else, for one whose reading the database refuses."""
    properties = dict(received.properties)
    headers = properties.get(_HEADERS)
    if isinstance(headers, Mapping):
        properties[_HEADERS] = {name: value for name, value in headers.items() if name not in _CHANGING}
    try:
        said = ascii(properties)
    except RecursionError:
        said = "nested too deeply to be written down"
    return Letter(
        id=letter_id,
        death=hashlib.sha256(f"{received.service}\x00{said}\x00".encode() + received.body).hexdigest(),
        service=received.service,
        body=received.body,
        headers={"$unstorable": column(why), "$repr": said[:100_000]},
        died_at=now,
    )


def envelope_of(headers: Any) -> Envelope | None:
    """The envelope in these headers; None where they are not one."""
    try:
        return Envelope.from_headers(headers)
    except InvalidMessage:
        return None


def is_sagas_own(headers: Any) -> bool:
    """Whether this is a message by which a saga is woken or told of its letters."""
    envelope = envelope_of(headers)
    return envelope is not None and envelope.type.startswith(_SAGAS_OWN) and is_command(envelope.type)


def saga_command(envelope: Envelope) -> OfSaga | None:
    """Which command of which saga this is; None for every other message, and for what sagas are told themselves."""
    if envelope.saga_id is None or envelope.step is None or not is_command(envelope.type):
        return None
    if envelope.type.startswith(_SAGAS_OWN):
        return None
    return OfSaga(
        saga_id=envelope.saga_id,
        step=envelope.step,
        step_try=envelope.step_try or 1,
        is_compensation=action_key(envelope.idempotency_key) is not None,
        correlation_id=envelope.correlation_id,
    )


def came_by(deaths: Any) -> tuple[str, str]:
    """Exchange and routing key that the message had come to its queue by; empty where the broker does not say."""
    last = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], Mapping) else {}
    keys = last.get("routing-keys")
    key = keys[0] if isinstance(keys, list) and keys else ""
    return column(last.get("exchange")), column(key)


def message_in(headers: Any, body: bytes) -> tuple[Envelope, dict[str, Any]]:
    """The message to be sent again; raises `Unreplayable` saying what is wrong with it."""
    try:
        envelope = Envelope.from_headers(headers)
    except InvalidMessage as error:
        raise Unreplayable(f"It cannot be sent again. {error}") from error
    try:
        call = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise Unreplayable(f"It cannot be sent again: its body is not JSON ({error}).") from error
    match call:
        case [[dict() as payload], options, embed] if options == {} and embed == {}:
            pass
        case _:
            raise Unreplayable("It cannot be sent again: its body is not [[payload], {}, {}].")
    if not (is_storable(payload) and is_storable(msgspec.to_builtins(envelope))):
        raise Unreplayable("It cannot be sent again: it holds characters that the outbox cannot store.")
    return envelope, payload


def _death(
    received: Received, headers: Mapping[str, Any], shown: Any, *, shown_properties: Any, is_ours: bool
) -> str:
    """What tells this death from every other one of the same queue.

    A message of ours that dies again has another attempt or replay id, so the time is left out: the broker dead-letters
    at least once, and copies of one death differ in it. Other bytes carry nothing that counts, so there it is kept.
    """
    left_out = {*_CHANGING, "x-death"}
    if "$table" in shown:  # a name that is no name of JSON; then names cannot be told apart there
        shown = to_json({name: value for name, value in headers.items() if name not in left_out})
    else:
        shown = {name: value for name, value in shown.items() if name not in left_out}
    deaths = headers.get("x-death")
    if is_ours and isinstance(deaths, list):
        deaths = [
            {name: value for name, value in death.items() if name != "time"}
            for death in deaths
            if isinstance(death, Mapping)
        ]
    told = msgspec.json.encode(
        [received.service, shown, to_json(deaths), shown_properties], order="deterministic"
    )
    return hashlib.sha256(told + b"\x00" + received.body).hexdigest()


def _first_uuid(*values: Any) -> UUID | None:
    for value in values:
        if isinstance(value, str):
            try:
                return UUID(value)
            except ValueError:
                continue
    return None


def _number(value: Any) -> int | None:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 <= value <= _LARGEST else None


def _time(value: Any) -> datetime | None:
    """AMQP's timestamps come without a zone and are in UTC."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else None
