"""`traceparent`: one trace for a story, valid headers only, spans where OpenTelemetry is there."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging import tracing

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_trace_begins_with_a_valid_header():
    begun = tracing.begin()

    assert tracing.valid(begun) == begun
    assert begun != tracing.begin()


def test_a_child_keeps_the_trace_and_the_flag_and_has_its_own_span_id():
    for parent in (PARENT, PARENT[:-2] + "00"):
        child = tracing.child_of(parent)

        assert tracing.valid(child) == child
        assert child[:36] == parent[:36]
        assert child[36:52] != parent[36:52]
        assert child[52:] == parent[52:]


@pytest.mark.parametrize(
    "header",
    [
        None,
        7,
        "",
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
        "ff" + PARENT[2:],
        PARENT + "-more",
        PARENT + "\n",
        PARENT.upper(),
        PARENT[:-1],
        "٠٠" + PARENT[2:],
    ],
)
def test_what_is_no_header_begins_a_new_trace(header):
    assert tracing.valid(header) is None
    assert tracing.child_of(header)[3:35] != PARENT[3:35]


def test_a_later_version_is_read_as_far_as_this_one_goes():
    assert tracing.valid("01" + PARENT[2:] + "-more") == PARENT


@given(st.text() | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True))
def test_any_text_gives_a_valid_child(header):
    child = tracing.child_of(header)

    assert tracing.valid(child) == child


def test_a_request_gives_its_trace_to_what_is_sent_without_a_cause():
    with tracing.came_with(PARENT):
        sent = tracing.outgoing("orders.order_placed.v1", message_id=1, cause=None)
        caused = tracing.outgoing("orders.order_placed.v1", message_id=1, cause=tracing.begin())
    after = tracing.outgoing("orders.order_placed.v1", message_id=1, cause=None)

    assert sent[:36] == PARENT[:36]
    assert caused[:36] != PARENT[:36]
    assert after[:36] != PARENT[:36]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_spans_are_made_only_where_an_exporter_is_named(environment, expected):
    assert tracing.is_configured(environment) is expected


def test_without_opentelemetry_nothing_of_it_is_imported():
    program = "import sys, messaging.tracing as t; t.set_up('x'); t.outgoing('a', message_id=1, cause=None); "
    program += "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"

    assert subprocess.run([sys.executable, "-c", program], env={"PATH": ""}, check=False).returncode == 0


@pytest.fixture
def exported():
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from messaging.spans import Spans

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(Spans(provider))
    yield exporter
    tracing.use(None)
    provider.shutdown()


def test_a_message_is_sent_and_handled_in_one_trace(exported):
    with tracing.came_with(PARENT):
        first = tracing.outgoing("orders.order_placed.v1", message_id="m1", cause=None)
    headers = {"traceparent": first, "message_id": "m1", "type": "orders.order_placed.v1"}
    with tracing.handling(headers, service="sagas"):
        second = tracing.outgoing("inventory.reserve_stock.v1", message_id="m2", cause=first)

    sent, sent_again, handled = exported.get_finished_spans()
    assert [span.name for span in (sent, handled, sent_again)] == [
        "send orders.order_placed.v1",
        "process orders.order_placed.v1",
        "send inventory.reserve_stock.v1",
    ]
    assert {f"{span.context.trace_id:032x}" for span in (sent, handled, sent_again)} == {PARENT[3:35]}
    assert f"{sent.parent.span_id:016x}" == PARENT[36:52]
    assert handled.parent.span_id == sent.context.span_id
    assert [link.context.span_id for link in handled.links] == [sent.context.span_id]
    assert sent_again.parent.span_id == handled.context.span_id
    assert second == f"00-{PARENT[3:35]}-{sent_again.context.span_id:016x}-01"


def test_a_batch_is_one_span_linked_to_each_message_and_each_story_keeps_its_trace(exported):
    causes = [tracing.begin(), tracing.begin()]
    with tracing.handling_batch([{"traceparent": cause} for cause in causes], service="sagas"):
        sent = [tracing.outgoing("a.b.v1", message_id=1, cause=cause) for cause in causes]

    batch = exported.get_finished_spans()[-1]
    assert batch.attributes["messaging.batch.message_count"] == 2
    assert [f"{link.context.trace_id:032x}" for link in batch.links] == [cause[3:35] for cause in causes]
    assert [header[3:35] for header in sent] == [cause[3:35] for cause in causes]


def test_an_exporter_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "carrier-pigeon")

    assert "carrier-pigeon" in tracing.set_up("makegood")
