"""Which message is being handled, for whoever writes a log line meanwhile.

Setting it costs well under a microsecond and reads nothing: the names are looked up only when a line is written.
"""

from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any

_NAMES = ("message_id", "correlation_id", "saga_id", "type", "attempt", "replay_id")
_LONGEST = 100

_current: ContextVar[tuple[str, Mapping[str, Any]] | None] = ContextVar("log_context", default=None)


class handling:
    """Inside, log lines carry the names of the message with these headers, and the service that handles it.

    A class, because a generator would cost twice as much.
    """

    __slots__ = ("_token", "_value")

    def __init__(self, headers: Mapping[str, Any], *, service: str) -> None:
        self._value = (service, headers)

    def __enter__(self) -> None:
        self._token: Token[tuple[str, Mapping[str, Any]] | None] = _current.set(self._value)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.reset(self._token)


def fields() -> dict[str, str | int]:
    """The names of the message in hand; none between messages.

    The headers may be anything that came over the wire: only short printable texts and numbers are passed on.
    """
    current = _current.get()
    if current is None:
        return {}
    service, headers = current
    found: dict[str, str | int] = {"service": service}
    for name in _NAMES:
        value = headers.get(name)
        if isinstance(value, int):
            found[name] = value
        elif value is not None:
            text = str(value)
            if text.isprintable():
                found[name] = text[:_LONGEST]
    return found
