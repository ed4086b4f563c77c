"""Reading the fields of a JSON body. Every refusal names its field and never repeats a secret."""

import json
import re
from typing import Any

from simulator.errors import RequestRefused, invalid

MOST_AMOUNT = 10**12


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a request; raises `RequestRefused` for anything else."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestRefused(400, "invalid_json", "The body is not JSON. Send a JSON object.") from None
    if not isinstance(parsed, dict):
        raise RequestRefused(400, "invalid_json", "The body must be a JSON object.")
    return parsed


def text(body: dict[str, Any], name: str, *, longest: int = 255) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= longest or not _is_storable(value):
        raise invalid(name, f"{name} must be a text of 1 to {longest} characters.")
    return value


def optional_text(body: dict[str, Any], name: str) -> str | None:
    """None where the field is absent, null or empty."""
    return None if body.get(name) in (None, "") else text(body, name)


def amount(body: dict[str, Any]) -> int:
    """Minor units of the currency, more than zero."""
    value = body.get("amount")
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_AMOUNT:
        raise invalid("amount", f"amount must be a whole number of minor units from 1 to {MOST_AMOUNT}.")
    return value


def currency(body: dict[str, Any]) -> str:
    value = body.get("currency")
    if not isinstance(value, str) or not re.fullmatch(r"[A-Z]{3}", value):
        raise invalid("currency", "currency must be an ISO 4217 code of three capital letters, such as EUR.")
    return value


def _is_storable(value: str) -> bool:
    """JSON can spell half of a surrogate pair, which has no UTF-8 form."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
