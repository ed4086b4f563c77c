"""What is read of a dead letter, and what makes two deaths one."""

import json
import math
from datetime import datetime
from decimal import Decimal
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deadletters.collecting.amqp_values import is_storable, to_json
from deadletters.collecting.fingerprint import fingerprint, own_frame
from deadletters.collecting.reading import Received, came_by, read
from messaging.envelope import new_message_id
from tests.builders import NOON, a_step_key, an_envelope, reserve_stock

texts = st.text(alphabet=st.characters(codec=None), max_size=20)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**63), max_value=2**63 - 1),
    st.floats(),
    st.binary(max_size=20),
    texts,
    st.decimals(allow_nan=False),
    st.datetimes(),
)
tables = st.dictionaries(
    texts,
    st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
    ),
    max_size=5,
)


@given(tables)
def test_any_headers_become_json_that_the_database_takes(headers):
    stored = to_json(headers)

    assert json.loads(json.dumps(stored, allow_nan=False)) == stored
    assert is_storable(stored)


@given(tables, st.binary(max_size=50))
def test_any_message_is_read_and_read_the_same_again(headers, body):
    received = Received(service="billing", properties={"application_headers": headers}, body=body)

    first, again = (read(received, letter_id=new_message_id(), now=NOON) for _ in range(2))

    assert first.body == body
    assert first.death == again.death


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (b"\xff", {"$bytes": "/w=="}),
        (Decimal("1.50"), {"$decimal": "1.50"}),
        (math.inf, {"$float": "inf"}),
        (datetime(2026, 1, 1), {"$time": "2026-01-01T00:00:00"}),  # noqa: DTZ001  # as the client library gives it
        ("a\x00", {"$text": "YQA="}),
        ({"$x": 1}, {"$table": [["$x", 1]]}),
        ({"plain": [1, "two"]}, {"plain": [1, "two"]}),
    ],
)
def test_what_json_lacks_is_tagged(value, stored):
    assert to_json(value) == stored


def death(**more):
    return {
        "reason": "rejected",
        "queue": "inventory",
        "exchange": "commands",
        "routing-keys": ["inventory.reserve_stock"],
        "count": 1,
        "time": datetime(2026, 11, 23, 12),  # noqa: DTZ001  # as the client library gives it
        **more,
    }


def a_death(*, headers=None, body=b"[[{}], {}, {}]", deaths=None, service="inventory"):
    headers = headers if headers is not None else ENVELOPE.to_headers()
    properties = {"application_headers": {**headers, "x-death": deaths or [death()]}, "content_type": "x"}
    received = Received(service=service, properties=properties, body=body)
    return read(received, letter_id=new_message_id(), now=NOON)


SAGA = uuid4()
ENVELOPE = an_envelope(
    reserve_stock(uuid4()),
    key=a_step_key("reserve", saga_id=SAGA, is_compensation=True),
    saga_id=SAGA,
    step="reserve",
    step_try=3,
)


def test_the_letter_tells_which_command_of_which_saga_it_is():
    command = a_death().of_saga

    assert command is not None
    assert (command.saga_id, command.step, command.step_try) == (SAGA, "reserve", 3)
    assert command.is_compensation


def test_the_reason_and_the_time_are_those_of_the_last_death():
    letter = a_death(deaths=[death(reason="delivery_limit"), death(reason="rejected")])

    assert letter.reason == "delivery_limit"
    assert letter.died_at.isoformat() == "2026-11-23T12:00:00+00:00"
    assert came_by(letter.deaths) == ("commands", "inventory.reserve_stock")


def test_a_letter_delivered_again_is_the_same_death_though_the_broker_counts_deliveries():
    headers = ENVELOPE.to_headers()

    assert a_death().death == a_death(headers={**headers, "x-delivery-count": 3, "x-acquired-count": 4}).death


def test_copies_that_the_broker_makes_of_one_death_are_one():
    later = [death(time=datetime(2026, 11, 23, 13))]  # noqa: DTZ001

    assert a_death().death == a_death(deaths=later).death


@pytest.mark.parametrize(
    "other",
    [
        {"headers": {**ENVELOPE.to_headers(), "attempt": 2}},
        {"headers": {**ENVELOPE.to_headers(), "replay_id": str(uuid4())}},
        {"body": b"[[{}], {}, {} ]"},
        {"service": "billing"},
        {"deaths": [death(count=2)]},
        {"deaths": [death(reason="delivery_limit")]},
    ],
)
def test_another_attempt_replay_body_queue_or_count_is_another_death(other):
    assert a_death().death != a_death(**other).death


def test_bytes_that_are_no_message_of_ours_are_told_apart_by_the_time():
    first = a_death(headers={}, body=b"junk")
    later = a_death(headers={}, body=b"junk", deaths=[death(time=datetime(2026, 11, 23, 13))])  # noqa: DTZ001

    assert first.death != later.death


TRACEBACK = """Traceback (most recent call last):
  File "/srv/makegood/messaging/consumer.py", line 9, in consume
  File "/srv/makegood/billing/handlers.py", line {line}, in authorize
  File "/srv/.venv/lib/python3.11/site-packages/urllib3/connection.py", line 1, in connect
  File "/usr/lib/python3.11/socket.py", line 1, in create_connection
TimeoutError: timed out
"""


def a_fingerprint(**more):
    given = {
        "wire_type": "billing.authorize_payment.v1",
        "exception": "TimeoutError: timed out after 5 s",
        "traceback": TRACEBACK.format(line=7),
        "reason": "rejected",
        "service": "billing",
    }
    return fingerprint(**{**given, **more})


def test_the_frame_is_the_innermost_of_our_own_code():
    assert own_frame(TRACEBACK.format(line=7)) == "billing/handlers.py in authorize"
    assert own_frame("no traceback at all") == ""


def test_neither_the_words_of_the_error_nor_the_line_make_another_group():
    other = a_fingerprint(exception="TimeoutError: timed out after 6 s", traceback=TRACEBACK.format(line=8))

    assert other.digest == a_fingerprint().digest


def test_another_type_error_or_place_is_another_group():
    others = [
        a_fingerprint(wire_type="billing.void_payment.v1"),
        a_fingerprint(exception="ValueError: no"),
        a_fingerprint(traceback=TRACEBACK.replace("authorize", "void").format(line=7)),
        a_fingerprint(exception=""),
    ]

    assert len({each.digest for each in [*others, a_fingerprint()]}) == 5


def test_without_a_recorded_failure_the_brokers_reason_and_the_queue_take_its_place():
    letter = a_fingerprint(exception="", reason="delivery_limit")

    assert (letter.exception_class, letter.frame) == ("delivery_limit", "queue billing")
