"""The gateway's environment. A missing or wrong variable stops the start with a sentence naming it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from simulator.errors import InvalidSetting, RequestRefused
from simulator.faults import Faults


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the process needs to know before its first request."""

    books: Path
    """The SQLite file; made if absent."""
    allowed_origins: frozenset[str]
    """Origins (`http://127.0.0.1:8000`) whose pages may call from a browser."""
    hang_seconds: float
    """How long a lost answer is held before the connection is closed."""
    faults: Faults

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """Raises `InvalidSetting`."""
        books = environment.get("GATEWAY_BOOKS", "").strip()
        if not books:
            raise InvalidSetting("GATEWAY_BOOKS is not set. Set it to the path of the gateway's SQLite file.")
        folder = Path(books).resolve().parent
        if not folder.is_dir():
            raise InvalidSetting(
                f"GATEWAY_BOOKS is {books!r}, but there is no folder {folder}. Make it first."
            )
        origins = environment.get("GATEWAY_ALLOWED_ORIGINS", "").split(",")
        return cls(
            books=Path(books),
            allowed_origins=frozenset(origin.strip().rstrip("/") for origin in origins if origin.strip()),
            hang_seconds=_number(environment, "GATEWAY_HANG_SECONDS", default=15),
            faults=_faults(environment),
        )


def _faults(environment: Mapping[str, str]) -> Faults:
    names = ("latency_ms", "decline_rate", "timeout_rate", "error_rate", "outage_rate")
    values = {name: _number(environment, f"GATEWAY_{name.upper()}", default=0) for name in names}
    try:
        return Faults.parse(values)
    except RequestRefused as error:
        raise InvalidSetting(f"GATEWAY_{str(error.field).upper()} is out of range: {error.message}") from None


def _number(environment: Mapping[str, str], name: str, *, default: float) -> float:
    text = environment.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise InvalidSetting(f"{name} is {text!r}; write a number.") from None
    if not 0 <= value < float("inf"):
        raise InvalidSetting(f"{name} is {text!r}; write a number that is not negative.")
    return value
