"""Bodies of messages carry customers' addresses and payment tokens. Not everybody who reads them needs those."""

from typing import Any

HIDDEN = "(hidden)"
SENTENCE = (
    "Payment tokens and customers' names, addresses and e-mail addresses in the bodies below are hidden; "
    "superusers see them."
)
_HIDDEN_KEYS = frozenset({"payment_token", "token", "ship_to", "contact", "customer", "email", "to"})
"""With everything inside them. `token` is what the gateway is asked with, `to` whom an e-mail goes to."""


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


def _is_letter(key: str, value: Any) -> bool:
    """An e-mail's text, which greets the customer by name; a message's body is a table of its own."""
    return key == "body" and isinstance(value, str)


def _hidden(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _hidden(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_hidden(inner) for inner in value]
    return HIDDEN
