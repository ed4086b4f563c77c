"""Card numbers and what the simulator does with each. A number lives as long as the call that checks it."""

import datetime as dt
import enum
import re
from dataclasses import dataclass

from simulator.errors import invalid


class Behaviour(enum.StrEnum):
    """What happens to the money of a card. Stored with its token instead of the number."""

    APPROVES = "approves"
    DECLINED = "declined"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    FLAKY = "flaky"
    CAPTURE_REFUSED = "capture_refused"
    LOSES_ANSWERS = "executes_then_times_out"


DECLINE_REASONS = {
    Behaviour.DECLINED: "card_declined",
    Behaviour.INSUFFICIENT_FUNDS: "insufficient_funds",
}


@dataclass(frozen=True, kw_only=True)
class Card:
    """A card without its number."""

    behaviour: Behaviour
    brand: str
    last4: str


@dataclass(frozen=True, kw_only=True)
class TestCard:
    """A well-known number with a fixed token, which a demonstration may offer to choose from."""

    __test__ = False  # pytest would take it for a test by its name

    number: str
    token: str
    label: str
    outcome: str
    behaviour: Behaviour

    @property
    def card(self) -> Card:
        return Card(behaviour=self.behaviour, brand=brand_of(self.number), last4=self.number[-4:])


TEST_CARDS = (
    TestCard(
        number="4242424242424242",
        token="tok_visa",
        label="Approves",
        outcome="The payment is authorized and captured.",
        behaviour=Behaviour.APPROVES,
    ),
    TestCard(
        number="4000000000000002",
        token="tok_declined",
        label="Declined",
        outcome="The bank declines the payment.",
        behaviour=Behaviour.DECLINED,
    ),
    TestCard(
        number="4000000000009995",
        token="tok_insufficient_funds",
        label="Insufficient funds",
        outcome="The bank declines the payment: there is not enough money.",
        behaviour=Behaviour.INSUFFICIENT_FUNDS,
    ),
    TestCard(
        number="4000000000000119",
        token="tok_flaky",
        label="Fails now and then",
        outcome="The gateway is out of order for up to two calls of each operation, then it succeeds.",
        behaviour=Behaviour.FLAKY,
    ),
    TestCard(
        number="4000000000000341",
        token="tok_capture_refused",
        label="Capture refused",
        outcome="The payment is authorized; taking the money is refused.",
        behaviour=Behaviour.CAPTURE_REFUSED,
    ),
    TestCard(
        number="4000000000000259",
        token="tok_executes_then_times_out",
        label="Answer gets lost",
        outcome="Each operation is carried out, but its first answer never arrives.",
        behaviour=Behaviour.LOSES_ANSWERS,
    ),
)

_BEHAVIOURS = {card.number: card.behaviour for card in TEST_CARDS}
_SEPARATORS = re.compile(r"[ -]")
_EXPIRY = re.compile(r"(0[1-9]|1[0-2])\s?/\s?(?:20)?([0-9]{2})")


def passes_luhn(number: str) -> bool:
    """Whether the last digit fits the others (ISO/IEC 7812-1, annex B). `number` is digits only."""
    total = 0
    for position, digit in enumerate(reversed(number)):
        value = int(digit) * (2 if position % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def brand_of(number: str) -> str:
    """The brand by the number's first digits; `unknown` where none fits."""
    two, four = int(number[:2]), int(number[:4])
    if number[0] == "4":
        return "visa"
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return "mastercard"
    if two in (34, 37):
        return "amex"
    if four == 6011 or 644 <= four // 10 <= 659:
        return "discover"
    return "unknown"


def read_number(text: str) -> Card:
    """The card behind a typed number; blanks and hyphens do not matter.

    Raises `RequestRefused` for anything but 12 to 19 digits that pass Luhn's check; no message repeats the
    number.
    """
    number = _SEPARATORS.sub("", text)
    if not (number.isascii() and number.isdigit() and 12 <= len(number) <= 19):
        raise invalid("number", "The card number must have 12 to 19 digits.")
    if not passes_luhn(number):
        raise invalid("number", "The card number has a typing error: its check digit does not fit.")
    return Card(
        behaviour=_BEHAVIOURS.get(number, Behaviour.APPROVES), brand=brand_of(number), last4=number[-4:]
    )


def check_expiry(text: str, *, today: dt.date) -> None:
    """Raises `RequestRefused` unless `text` is MM/YY or MM/YYYY and that month is not over."""
    match = _EXPIRY.fullmatch(text.strip())
    if match is None:
        raise invalid("exp", "The expiry date must be written MM/YY.")
    month, year = int(match[1]), 2000 + int(match[2])
    if (year, month) < (today.year, today.month):
        raise invalid("exp", "The card has expired.")


def check_cvc(text: str) -> None:
    """Raises `RequestRefused` unless `text` is three or four digits."""
    if not re.fullmatch(r"[0-9]{3,4}", text):
        raise invalid("cvc", "The security code must have three or four digits.")
