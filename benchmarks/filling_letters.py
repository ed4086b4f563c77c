"""Dead letters by the million, as the collector would have stored them in a bad month."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from benchmarks.filling import UUID7, write_in_chunks
from benchmarks.stage import Place
from contracts.billing import AuthorizePayment, CapturePayment, RefundPayment, VoidPayment
from contracts.inventory import ReleaseStock, ReserveStock
from contracts.message import Command
from contracts.shipping import BookShipment, CancelShipment
from contracts.values import Address, Line, Money
from deadletters.collecting.fingerprint import fingerprint
from deadletters.collecting.words import words_of
from messaging.envelope import Envelope

DAYS = 30
"""In which the letters died, evenly."""
GROUPS = 200
COMMON, RARE = "timeout", "4711"
"""Words of very many letters, and of a single one."""

_ORDER = UUID("01920000-0000-7000-8000-000000000001")
_MESSAGE = UUID("01920000-0000-7000-8000-000000000002")
_NUMBER = "4242424242"
"""What is in a sample, and each letter made of it has its own instead."""
_LINES = (Line(sku="mug", quantity=2), Line(sku="tea-towel", quantity=1))
_ADDRESS = Address(
    name="Ada Lovelace", line1="12 St James's Square", city="London", postcode="SW1Y", country="GB"
)
_COMMANDS: tuple[Command, ...] = (
    AuthorizePayment(order_id=_ORDER, total=Money(4750, "EUR"), payment_token="tok_visa"),
    ReserveStock(order_id=_ORDER, lines=_LINES),
    BookShipment(order_id=_ORDER, ship_to=_ADDRESS, lines=_LINES),
    CapturePayment(order_id=_ORDER),
    ReleaseStock(order_id=_ORDER),
    VoidPayment(order_id=_ORDER),
    CancelShipment(order_id=_ORDER),
    RefundPayment(order_id=_ORDER),
)
_EXCEPTIONS = (
    f"TimeoutError: the gateway did not answer call {_NUMBER} within 5 s",
    f"OperationalError: deadlock detected, process {_NUMBER} waits for ShareLock",
    f"KeyError: 'parcel {_NUMBER}'",
    f"ValueError: invalid literal for int() with base 10: 'x{_NUMBER}'",
    f"IntegrityError: duplicate key value violates unique constraint, row {_NUMBER}",
)
_FRAMES = GROUPS // (len(_COMMANDS) * len(_EXCEPTIONS))
_TRACEBACK = "Traceback (most recent call last):\n" + "".join(
    f'  File "/srv/makegood/{place}.py", line {line}, in {function}\n    {code}\n'
    for place, line, function, code in (
        ("messaging/consumer.py", 148, "_run", "reply = handler.call(message)"),
        ("messaging/handlers.py", 71, "call", "return self.function(message)"),
        ("{service}/handlers.py", 33, "handle", "return services.carry_out(command, at=utc_now())"),
        ("{service}/services.py", 210, "step_{frame}", "answer = port.ask(request, timeout=5)"),
    )
)

_SAMPLES = """
CREATE TABLE benchmarks_sample (
    number integer PRIMARY KEY, service text, type text, body text, headers text, deaths text, step text,
    exception text, traceback text, fingerprint text, exception_class text, frame text, words text)"""
_SAMPLE = f"INSERT INTO benchmarks_sample VALUES ({', '.join(['%s'] * 13)})"
_GROUPS = """
INSERT INTO deadletters_lettergroup (fingerprint, type, exception_class, frame, first_seen_at, last_seen_at)
SELECT fingerprint, type, exception_class, frame, now() - %s * interval '1 day', now() FROM benchmarks_sample"""

_CHANCE = "(('x' || substr(md5(number || '{salt}'), 1, 8))::bit(32)::bigint / 4294967296.0)"
"""Between 0 and 1, and the same in every run."""
_STATE = f"""
    CASE width_bucket({_CHANCE.format(salt="state")}, ARRAY[0.40, 0.41, 0.85, 0.98])
         WHEN 0 THEN 'open' WHEN 1 THEN 'replaying' WHEN 2 THEN 'resolved' WHEN 3 THEN 'discarded'
         ELSE 'superseded' END"""
_LETTERS = f"""
INSERT INTO deadletters_deadletter (
    id, death, service, state, body, headers, properties, reason, deaths, message_id, type, correlation_id,
    idempotency_key, saga_id, step, attempt, words, exception, traceback, is_failure_known, group_id, died_at,
    collected_at, closed_at)
SELECT made.id, md5(made.id::text), service, state, convert_to(replace(body, '{_ORDER}', order_id::text), 'utf8'),
       replace(replace(headers, '{_ORDER}', order_id::text), '{_MESSAGE}', message_id::text)::jsonb,
       '{{"content_type": "application/json", "delivery_mode": 2}}', 'rejected', deaths::jsonb, message_id, type,
       order_id::text, message_id || ':' || step || ':1:action', message_id, step, 8,
       replace(replace(words, '{_ORDER}', order_id::text), '{_NUMBER}', made.number::text)::tsvector,
       replace(exception, '{_NUMBER}', made.number::text), traceback, true, fingerprint, died_at, died_at,
       CASE WHEN state IN ('open', 'replaying') THEN NULL ELSE died_at + interval '1 hour' END
FROM (SELECT number, now() - (%(all)s - number) * interval '{DAYS} days' / %(all)s AS died_at,
             {UUID7.format(age="{age}", salt="letter")} AS id,
             {UUID7.format(age="{age}", salt="message")} AS message_id,
             {UUID7.format(age="{age}", salt="order")} AS order_id,
             floor({GROUPS} * {_CHANCE.format(salt="group")} ^ 3)::int AS sample,
             {_STATE} AS state
      FROM generate_series(%(first)s, %(last)s) AS number) AS made
JOIN benchmarks_sample ON benchmarks_sample.number = made.sample"""


def fill_letters(place: Place, count: int, *, chunk: int = 50_000) -> None:
    """So many letters of 200 groups, a sixth of them in the largest; with their tallies, which are not folded."""
    insert = _LETTERS.replace("{age}", str(count))

    connection = place.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute(_SAMPLES)
            cursor.executemany(_SAMPLE, [_sample(number) for number in range(GROUPS)])
            cursor.execute(_GROUPS, [DAYS])
            write_in_chunks(place, cursor, "deadletters_deadletter", insert, count=count, chunk=chunk)
    finally:
        connection.close()


def _sample(number: int) -> tuple[Any, ...]:
    """A letter of each group, made of the shop's own commands and by the collector's own code."""
    command = _COMMANDS[number % len(_COMMANDS)]
    exception = _EXCEPTIONS[number // len(_COMMANDS) % len(_EXCEPTIONS)]
    frame = number // (len(_COMMANDS) * len(_EXCEPTIONS))
    service, step = command.owner(), command.routing_key().partition(".")[2].partition("_")[0]
    traceback = _TRACEBACK.replace("{service}", service).replace("{frame}", str(frame)) + f"{exception}\n"
    group = fingerprint(
        wire_type=command.wire_type,
        exception=exception,
        traceback=traceback,
        reason="rejected",
        service=service,
    )
    body = msgspec.json.encode([[command.to_payload()], {}, {}])
    headers = Envelope(
        message_id=_MESSAGE,
        type=command.wire_type,
        idempotency_key=f"{_ORDER}:{step}:1:action",
        correlation_id=str(_ORDER),
        occurred_at=datetime(2026, 1, 31, tzinfo=UTC),
        saga_id=_MESSAGE,
        step=step,
        step_try=1,
        attempt=8,
    ).to_headers()
    deaths = [
        {
            "reason": "rejected",
            "queue": service,
            "exchange": "commands",
            "routing-keys": [command.routing_key()],
            "count": 1,
        }
    ]
    return (
        number,
        service,
        command.wire_type,
        body.decode(),
        msgspec.json.encode({**headers, "x-death": deaths}).decode(),
        msgspec.json.encode(deaths).decode(),
        step,
        exception,
        traceback,
        group.digest,
        group.exception_class,
        group.frame,
        words_of(service=service, wire_type=command.wire_type, exception=exception, body=body),
    )
