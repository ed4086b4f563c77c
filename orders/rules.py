"""What a customer may write into an order, the same for the form and for the API."""

import re
import unicodedata

MOST_TOKEN = 100
TOKEN = re.compile(r"tok_[A-Za-z0-9_]{1,96}", re.ASCII)
POSTCODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 -]{1,11}", re.ASCII)
LONGEST = {"name": 120, "email": 254, "line1": 200, "city": 100, "postcode": 12, "payment_token": MOST_TOKEN}
"""Characters; the services behind store no more."""

COUNTRIES = (
    ("AT", "Austria"),
    ("BE", "Belgium"),
    ("CH", "Switzerland"),
    ("CZ", "Czechia"),
    ("DE", "Germany"),
    ("DK", "Denmark"),
    ("ES", "Spain"),
    ("FI", "Finland"),
    ("FR", "France"),
    ("GB", "United Kingdom"),
    ("IE", "Ireland"),
    ("IT", "Italy"),
    ("LU", "Luxembourg"),
    ("NL", "Netherlands"),
    ("NO", "Norway"),
    ("PL", "Poland"),
    ("PT", "Portugal"),
    ("SE", "Sweden"),
)
"""Where parcels go: ISO 3166-1 alpha-2 code and name."""
COUNTRY_CODES = frozenset(code for code, _ in COUNTRIES)

_DIGITS_OF_TEXT = re.compile(r"\d(?:[ .\-]?\d){12,}")
_DIGITS_OF_TOKEN = re.compile(r"(?<![A-Za-z\d])\d{13,19}(?![A-Za-z\d])")


def contains_card_number(text: str) -> bool:
    """Whether 13 to 19 digits in a row, blanks, dots and hyphens between them aside, pass Luhn's check."""
    for run in _DIGITS_OF_TEXT.finditer(unicodedata.normalize("NFKC", text)):
        digits = [int(character) for character in run[0] if character.isdigit()]
        for length in range(13, 20):
            if any(_passes_luhn(digits[at : at + length]) for at in range(len(digits) - length + 1)):
                return True
    return False


def is_token_of_card_number(token: str) -> bool:
    """Whether a payment token is a card number in disguise.

    A true token is random and may hold many digits between its letters; only digits that stand alone count.
    """
    return any(
        _passes_luhn([int(digit) for digit in run[0]])
        for run in _DIGITS_OF_TOKEN.finditer(unicodedata.normalize("NFKC", token))
    )


def has_control_characters(text: str) -> bool:
    """Whether the text holds what no keyboard types into one line: NUL, line breaks, halves of surrogates."""
    return any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)


def _passes_luhn(digits: list[int]) -> bool:
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = digit * (2 if position % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
