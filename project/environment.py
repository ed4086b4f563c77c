"""The environment as typed settings. A missing or wrong variable stops the start with a sentence naming it."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

_environment = environ.Env()

ROOT = Path(__file__).resolve().parent.parent
ENV_FILE = Path(os.environ.get("MAKEGOOD_ENV_FILE") or ROOT / ".dev" / "services.env")

if ENV_FILE.is_file():
    environ.Env.read_env(ENV_FILE, overwrite=False)

_DATABASE_OPTIONS = {
    "application_name": "makegood",
    # Seconds to connect, and then until a server that answers nothing any more counts as gone: with the operating
    # system's own two hours a consumer would hold its messages for as long. Milliseconds in the last.
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 40_000,
}


def required(name: str) -> str:
    """The variable's value; there is no default for what a wrong guess would break."""
    value = os.environ.get(name, "").strip()
    if not value:
        raise ImproperlyConfigured(
            f"{name} is not set. Set it in the environment or in {ENV_FILE} (`make up` writes that file)."
        )
    return value


def text(name: str, default: str) -> str:
    return os.environ.get(name, "").strip() or default


def one_of(name: str, *allowed: str) -> str:
    """One of these words, the first where the variable is absent."""
    value = os.environ.get(name, "").strip() or allowed[0]
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} is {value!r}; write one of: {', '.join(allowed)}.")
    return value


def flag(name: str) -> bool:
    """True or false; absent is false."""
    value = os.environ.get(name, "").strip().lower()
    if value in ("", "0", "false", "no", "off"):
        return False
    if value in ("1", "true", "yes", "on"):
        return True
    raise ImproperlyConfigured(f"{name} is {value!r}; write true or false.")


def number(name: str, default: float, *, least: float = 0, most: float = float("inf")) -> float:
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    try:
        parsed = float(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {value!r}; write a number.") from None
    if parsed < least:
        raise ImproperlyConfigured(f"{name} is {value}; it must be at least {least:g}.")
    if parsed > most:
        raise ImproperlyConfigured(f"{name} is {value}; it must be at most {most:g}.")
    return parsed


def whole(name: str, default: int, *, least: int = 0) -> int:
    value = number(name, default, least=least)
    if value != int(value):
        raise ImproperlyConfigured(f"{name} is {value}; write a whole number.")
    return int(value)


def wholes(name: str, default: tuple[int, ...], *, least: int = 0) -> tuple[int, ...]:
    """Whole numbers, separated by commas; `none` for no number at all."""
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    if value == "none":
        return ()
    try:
        numbers = tuple(int(part) for part in value.split(","))
    except ValueError:
        raise ImproperlyConfigured(
            f"{name} is {value!r}; write whole numbers like 1,5,20, or none."
        ) from None
    if min(numbers) < least:
        raise ImproperlyConfigured(f"{name} is {value!r}; each number must be at least {least}.")
    return numbers


def port(name: str) -> int:
    """A port's number; 0 where the variable is absent."""
    value = whole(name, 0)
    if value > 65535:
        raise ImproperlyConfigured(f"{name} is {value}, which is no port. Give a number from 1 to 65535.")
    return value


def token(name: str, *, least: int) -> str:
    """A secret of at least so many characters; empty where the variable is absent."""
    value = os.environ.get(name, "").strip()
    if value and len(value) < least:
        raise ImproperlyConfigured(f"{name} is shorter than {least} characters: it could be guessed.")
    return value


def listed(name: str) -> list[str]:
    return [part.strip() for part in os.environ.get(name, "").split(",") if part.strip()]


def url(name: str) -> str:
    value = required(name).rstrip("/")
    if urlsplit(value).scheme not in ("http", "https"):
        raise ImproperlyConfigured(
            f"{name} is {value!r}; write an address that begins with http:// or https://."
        )
    return value


def broker_url() -> str:
    """`amqp://…`, or several of a cluster joined by `;`."""
    value = required("BROKER_URL")
    for part in value.split(";"):
        if urlsplit(part).scheme not in ("amqp", "amqps"):
            raise ImproperlyConfigured(
                "BROKER_URL must be one address amqp://user:password@host:port/vhost, or several joined by ';'."
            )
    return value


def database(name: str) -> dict[str, Any] | None:
    """Django's settings of the PostgreSQL database named by a URL; None where the variable is absent."""
    if not os.environ.get(name, "").strip():
        return None
    parsed: dict[str, Any] = dict(_environment.db_url(name))
    if "postgresql" not in parsed["ENGINE"]:
        raise ImproperlyConfigured(f"{name} must begin with postgres://; Makegood works on PostgreSQL only.")
    options = dict(parsed.get("OPTIONS", {}))
    for name, value in _DATABASE_OPTIONS.items():
        options.setdefault(name, value)
    return {**parsed, "OPTIONS": options, "CONN_MAX_AGE": 300, "CONN_HEALTH_CHECKS": True}


def mail() -> dict[str, Any]:
    """Django's e-mail settings from EMAIL_URL, such as smtp://…, consolemail:// or filemail:///folder."""
    required("EMAIL_URL")
    return dict(_environment.email_url("EMAIL_URL"))
