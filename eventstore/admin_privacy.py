"""Bodies of messages carry customers' addresses and payment tokens. Not everybody who reads them needs those."""

from collections.abc import Iterator
from typing import Any

PERMISSION = "eventstore.see_personal_data"
HIDDEN = "(hidden)"
SENTENCE = (
    "Payment tokens and customers' names, addresses and e-mail addresses in what messages and errors say below are "
    "hidden; whoever has the permission “Can read what messages say about customers” sees them."
)
_HIDDEN_KEYS = frozenset(
    {"payment_token", "token", "ship_to", "contact", "customer", "email", "to", "argsrepr", "kwargsrepr"}
)
"""With everything inside them. `token` is what the gateway is asked with, `to` whom an e-mail goes to; the last two are
headers in which Celery repeats the body of a message that it has sent itself."""


def masked(value: Any) -> Any:
    """A copy of decoded JSON in which every payment token and every value about a customer reads `(hidden)`."""
    if isinstance(value, dict):
        return {
            key: _hidden(inner) if key in _HIDDEN_KEYS or _is_letter(key, inner) else masked(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [masked(inner) for inner in value]
    return value


def private_values(value: Any) -> Iterator[str]:
    """The texts in decoded JSON that `masked` hides."""
    if isinstance(value, dict):
        for key, inner in value.items():
            is_private = key in _HIDDEN_KEYS or _is_letter(key, inner)
            yield from _texts(inner) if is_private else private_values(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from private_values(inner)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _is_letter(key: str, value: Any) -> bool:
    """An e-mail's text, which greets the customer by name; a message's body is a table of its own."""
    return key == "body" and isinstance(value, str)


def _hidden(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _hidden(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_hidden(inner) for inner in value]
    return HIDDEN
