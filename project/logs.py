"""How log lines look, and what is kept out of them.

With LOG_FORMAT=json each record is one line of JSON; otherwise it is a line for people. Both carry the names of the
message in hand. What PostgreSQL quotes of a row (its DETAIL) is left out: it may be a customer's name or address.
"""

import json
import logging
import time
from types import TracebackType

from messaging import log_context
from messaging.quoted_rows import without_rows

_Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class NotReadiness(logging.Filter):
    """Passes everything but the answers of /readyz, which whoever starts a shop asks until it is ready."""

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(getattr(record, "request", None), "path", "") != "/readyz"


class LineFormatter(logging.Formatter):
    """Time, level, logger, text, and in brackets the message in hand."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        names = _fields(record)
        text = without_rows(super().formatMessage(record))
        return f"{text} [{' '.join(f'{name}={value}' for name, value in names.items())}]" if names else text

    def formatException(self, ei: _Raised) -> str:
        return without_rows(super().formatException(ei))


class JsonFormatter(logging.Formatter):
    """One JSON object a record, on one line: time (UTC), level, logger, process, text, names, traceback."""

    converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "pid": record.process,
            "text": without_rows(record.getMessage()),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = without_rows(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


def _fields(record: logging.LogRecord) -> dict[str, str | int]:
    """The names of the message in hand, and of the one that the record itself is about (`extra={"of": {...}}`)."""
    return {**log_context.fields(), **getattr(record, "of", {})}
