"""Spans of OpenTelemetry around messages. Imported only where `messaging.tracing` found that they are wanted."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags

from messaging.tracing import valid


class Spans:
    """Makes the spans; attributes follow OpenTelemetry's conventions for messaging."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("makegood.messaging")

    def outgoing(self, wire_type: str, *, message_id: object, parent: str | None) -> str | None:
        """Note that a message was written to the outbox; returns its traceparent.

        It belongs to the span of the handling that it comes from, where that is of the same trace.
        """
        context, known = None, _context_of(parent)
        current = trace.get_current_span().get_span_context()
        if known is not None and known.trace_id != current.trace_id:
            context = trace.set_span_in_context(trace.NonRecordingSpan(known))
        with self._tracer.start_as_current_span(
            f"send {wire_type}",
            context=context,
            kind=SpanKind.PRODUCER,
            attributes={
                **_ATTRIBUTES,
                "messaging.operation.type": "send",
                "messaging.message.id": str(message_id),
            },
        ) as span:
            made = span.get_span_context()
        if not made.is_valid:
            return None
        return f"00-{made.trace_id:032x}-{made.span_id:016x}-{made.trace_flags & 1:02x}"

    @contextmanager
    def handling(self, batch: Sequence[Mapping[str, Any]], *, service: str) -> Iterator[None]:
        """A span around the handling: the child of one message's, or linked to each of many."""
        causes = [
            known for headers in batch if (known := _context_of(headers.get("traceparent"))) is not None
        ]
        is_one = len(batch) == 1
        attributes: dict[str, str | int] = {
            **_ATTRIBUTES,
            "messaging.operation.type": "process",
            "messaging.destination.name": service,
        }
        if is_one:
            attributes["messaging.message.id"] = str(batch[0].get("message_id", ""))[:100]
            attributes["messaging.message.conversation_id"] = str(batch[0].get("correlation_id", ""))[:100]
        else:
            attributes["messaging.batch.message_count"] = len(batch)
        parent = trace.set_span_in_context(trace.NonRecordingSpan(causes[0])) if is_one and causes else None
        with self._tracer.start_as_current_span(
            f"process {str(batch[0].get('type', ''))[:100] if is_one else service}",
            context=parent,
            kind=SpanKind.CONSUMER,
            links=[Link(cause) for cause in causes],
            attributes=attributes,
        ):
            yield


_ATTRIBUTES = {"messaging.system": "rabbitmq"}


def exporting_spans(process: str) -> Spans:
    """Spans that go to the exporters named in the environment; raises LookupError where one is not installed."""
    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "").strip() or process})
    provider = TracerProvider(resource=resource)
    for name in (os.environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp").split(","):
        found = list(entry_points(group="opentelemetry_traces_exporter", name=name.strip()))
        if not found:
            raise LookupError(f"no package that exports spans as {name.strip()!r} is installed")
        provider.add_span_processor(BatchSpanProcessor(found[0].load()()))
    return Spans(provider)


def _context_of(traceparent: object) -> SpanContext | None:
    known = valid(traceparent)
    if known is None:
        return None
    _, trace_id, span_id, flags = known.split("-")
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )
