"""A log line says which message it is about, in text and in JSON, and quotes no customer."""

import json
import logging
import sys

import pytest

from messaging import log_context
from project.logs import JsonFormatter, LineFormatter

HEADERS = {
    "message_id": "0193b0c0-0000-7000-8000-000000000001",
    "correlation_id": "order-1",
    "saga_id": None,
    "type": "billing.authorize_payment.v1",
    "attempt": 3,
    "ignored": "x",
}


def a_record(text="it failed", *args, **more):
    return logging.LogRecord(
        "messaging.consumer", logging.WARNING, __file__, 1, text, args, more.get("exc_info")
    )


def test_json_has_the_names_of_the_message_in_hand():
    with log_context.handling(HEADERS, service="billing"):
        line = JsonFormatter().format(a_record("attempt %d failed", 3))

    assert "\n" not in line
    found = json.loads(line)
    assert found["text"] == "attempt 3 failed"
    assert found["level"] == "WARNING"
    assert found["time"].endswith("Z")
    assert {name: found[name] for name in ("service", "type", "attempt", "message_id", "correlation_id")} == {
        "service": "billing",
        "type": "billing.authorize_payment.v1",
        "attempt": 3,
        "message_id": HEADERS["message_id"],
        "correlation_id": "order-1",
    }
    assert "saga_id" not in found
    assert "ignored" not in found


def test_between_messages_a_line_has_no_names():
    with log_context.handling(HEADERS, service="billing"):
        pass

    assert "message_id" not in json.loads(JsonFormatter().format(a_record()))
    assert LineFormatter().format(a_record()).endswith("it failed")


def test_text_has_them_in_brackets():
    with log_context.handling(HEADERS, service="billing"):
        line = LineFormatter().format(a_record())

    assert line.endswith(
        "it failed [service=billing message_id=0193b0c0-0000-7000-8000-000000000001 correlation_id=order-1 "
        "type=billing.authorize_payment.v1 attempt=3]"
    )


@pytest.mark.parametrize("value", ["two\nlines", "\x1b[31m", {"a": "\n"}, "x" * 10_000])
def test_headers_from_the_wire_cannot_forge_a_line(value):
    with log_context.handling({"message_id": value, "type": value}, service="billing"):
        line = LineFormatter().format(a_record())

    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    assert len(line) < 500


@pytest.mark.parametrize("formatter", [JsonFormatter(), LineFormatter()])
def test_the_rows_that_postgresql_quotes_are_left_out(formatter):
    try:
        raise ValueError(
            'null value in column "x"\nDETAIL:  Failing row contains (7, ada@example.com).\nmore'
        )
    except ValueError as error:
        record = a_record("failed: %s", error, exc_info=sys.exc_info())

    line = formatter.format(record)

    assert "ada@example.com" not in line
    assert "null value in column" in line


def test_a_quoted_value_of_several_lines_is_left_out_and_what_follows_stays():
    quoted = (
        "IntegrityError: new row violates a check\nDETAIL:  Failing row contains (7, 12 St James's Square\nLondon).\n"
        "CONTEXT:  COPY orders, line 1\n"
    )
    with log_context.handling(HEADERS, service="billing"):
        line = LineFormatter().format(a_record("failed: %s", quoted))

    assert "London" not in line
    assert "COPY orders" in line
    assert "service=billing" in line
