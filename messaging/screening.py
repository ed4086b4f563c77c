"""What a worker lets in: messages that Celery can handle. Every other one is the broker's to move, never lost.

A stock worker acknowledges, and so loses, what it cannot decode; other malformed messages end it, and their
neighbours with it. Here both become dead letters, as they came.
"""

import logging
from collections.abc import Callable
from typing import Any

import msgspec
from celery.worker.consumer import Consumer

log = logging.getLogger(__name__)

_JSON = "application/json"
_TEXTS = ("id", "task")
_NEVER_SENT = ("compression", "eta", "expires", "timelimit")
"""Headers that would let Celery unpack, hold back, drop or cut short a message: the outbox does none of that."""


def problem_with(message: Any, *, tasks: Any) -> str | None:
    """What makes this message impossible to handle, as a sentence; None where it may be tried. `tasks` are known."""
    if message.content_type != _JSON:
        return f"Its content type is {message.content_type!r}, not {_JSON}."
    headers = message.headers
    for name in _TEXTS:
        if not isinstance(headers.get(name), str):
            return f"Its header {name!r} is {headers.get(name)!r}, not a text."
    if headers["task"] not in tasks:
        return f"This service has no handler for {headers['task']!r}."
    for name in _NEVER_SENT:
        if headers.get(name) is not None:
            return f"It has a header {name!r}, which no message here has."
    try:
        body = msgspec.json.decode(message.body)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        return f"Its body is not JSON: {error}."
    is_call = isinstance(body, list) and len(body) == 3 and body[1:] == [{}, {}]
    if not is_call or not isinstance(body[0], list) or len(body[0]) != 1:
        return "Its body is not [[payload], {}, {}]."
    return None


class ScreeningConsumer(Consumer):  # type: ignore[misc]  # Celery carries no types
    """Celery's consumer behind a screen. Nothing that comes over the wire ends it."""

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        handle = super().create_task_handler(*args, **kwargs)

        def screen(message: Any) -> None:
            try:
                problem = problem_with(message, tasks=self.strategies)
                if problem is None:
                    handle(message)
                    return
            except self.connection_errors:
                raise
            except Exception as error:  # any bytes may come, and none of them may end the worker
                problem = f"It could not be taken in: {type(error).__name__}: {error}."
            self._reject(message, problem)

        return screen

    def on_decode_error(self, message: Any, exc: BaseException) -> None:
        """Reject, where Celery acknowledges."""
        self._reject(message, f"It could not be decoded: {type(exc).__name__}: {exc}.")

    def _reject(self, message: Any, problem: str) -> None:
        log.error("rejected message %s: %s", message.properties.get("message_id") or "without an id", problem)
        message.reject_log_error(log, self.connection_errors)
