"""What is kept out of the log."""

import logging


class NotReadiness(logging.Filter):
    """Passes everything but the answers of /readyz, which whoever starts a shop asks until it is ready."""

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(getattr(record, "request", None), "path", "") != "/readyz"
