"""`traceparent` of W3C Trace Context: one trace from the checkout to the last e-mail, a span id for each message.

The header is always carried, and costs two random numbers a message. Where OpenTelemetry is installed and an exporter
is configured (`OTEL_TRACES_EXPORTER`, or an address in `OTEL_EXPORTER_OTLP_ENDPOINT`), writing a message to the outbox
and handling it are spans of that trace; else nothing of it is imported. https://www.w3.org/TR/trace-context/
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from messaging.rehearsing import is_rehearsal

if TYPE_CHECKING:
    from messaging.spans import Spans

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_SAMPLED = "01"
_LONGEST = 512

_outside: ContextVar[str | None] = ContextVar("traceparent", default=None)
_spans: "Spans | None" = None


def valid(traceparent: object) -> str | None:
    """The header as version 00 writes it; None where it is not one.

    Versions to come may have more after the flags, which is left out; version ff and zeros are no ids.
    """
    if not isinstance(traceparent, str) or len(traceparent) > _LONGEST:
        return None
    match = _FORM.fullmatch(traceparent)
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return f"00-{trace_id}-{span_id}-{int(flags, 16) & 1:02x}"


def begin() -> str:
    """A new trace, and a span id in it."""
    return f"00-{_random(16)}-{_random(8)}-{_SAMPLED}"


def child_of(parent: str | None) -> str:
    """The same trace with a new span id; a new trace where there is no valid parent."""
    known = valid(parent)
    if known is None:
        return begin()
    return f"{known[:36]}{_random(8)}{known[52:]}"


@contextmanager
def came_with(traceparent: str | None) -> Iterator[None]:
    """Inside, what is sent without a cause belongs to this trace (an HTTP request's), if it is a valid one."""
    token = _outside.set(valid(traceparent))
    try:
        yield
    finally:
        _outside.reset(token)


def outgoing(wire_type: str, *, message_id: object, cause: str | None) -> str:
    """The traceparent of a message that is being written to the outbox because of `cause`'s."""
    parent = cause if cause is not None else _outside.get()
    if _spans is None or is_rehearsal():
        return child_of(parent)
    return _spans.outgoing(wire_type, message_id=message_id, parent=valid(parent)) or child_of(parent)


def handling(headers: Mapping[str, Any], *, service: str) -> AbstractContextManager[None]:
    """A span around the handling of the message with these headers."""
    if _spans is None:
        return nullcontext()
    return _spans.handling([headers], service=service)


def handling_batch(batch: Sequence[Mapping[str, Any]], *, service: str) -> AbstractContextManager[None]:
    """One span around the handling of many messages at once, linked to each."""
    if _spans is None:
        return nullcontext()
    return _spans.handling(batch, service=service)


def is_configured(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment names an exporter for spans."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter:
        return exporter != "none"
    return any(
        environment.get(name, "").strip()
        for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    )


def set_up(process: str) -> str | None:
    """Make spans from now on, where the environment asks for it. Returns why not, where it asks and it cannot be."""
    if not is_configured():
        return None
    try:
        from messaging.spans import exporting_spans

        use(exporting_spans(process))
    except (ImportError, LookupError) as error:
        return str(error)
    return None


def use(spans: "Spans | None") -> None:
    """Make these spans from now on; none with None."""
    global _spans
    _spans = spans


def _random(count: int) -> str:
    """So many random bytes in hexadecimal, never all zeros."""
    while not (found := os.urandom(count)).strip(b"\x00"):
        continue
    return found.hex()
