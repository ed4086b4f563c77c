"""Orders for load and demonstration: which kinds there are, how often, and how each inevitably ends."""

import random
from collections.abc import Iterable, Iterator

import msgspec

from contracts.values import Address, Contact
from orders.models import Order
from orders.services import OrderRequest

CARDS = {
    "approved": "tok_visa",
    "declined": "tok_declined",
    "insufficient_funds": "tok_insufficient_funds",
    "flaky": "tok_flaky",
    "capture_refused": "tok_capture_refused",
}


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of order. `ends` is what becomes of it, whatever fails on the way."""

    weight: int
    card: str = "approved"
    sku: str = "mug"
    postcode: str = "10115"
    ends: str = "confirmed"


REALISTIC = (
    Kind(weight=78),
    Kind(weight=4, card="flaky"),
    Kind(weight=7, card="declined", ends="cancelled"),
    Kind(weight=3, card="insufficient_funds", ends="cancelled"),
    Kind(weight=2, card="capture_refused", ends="cancelled"),
    Kind(weight=3, sku="lamp", ends="cancelled"),
    Kind(weight=3, postcode="00000", ends="cancelled"),
)
MIXES = {"realistic": REALISTIC}


class Wanted(msgspec.Struct, frozen=True):
    """An order to be placed, and how it must end; None where that is not known beforehand."""

    request: OrderRequest
    ends: str | None


def of_mix(name: str, *, count: int, seed: int) -> Iterator[Wanted]:
    """So many orders of a mix; the same seed gives the same orders."""
    chance = random.Random(seed)
    kinds = MIXES[name]
    for number in range(count):
        kind = chance.choices(kinds, weights=[kind.weight for kind in kinds])[0]
        quantity = chance.randint(1, 3)
        yield Wanted(
            _request(number, card=CARDS[kind.card], sku=kind.sku, quantity=quantity, postcode=kind.postcode),
            kind.ends,
        )


def of_one_kind(*, count: int, card: str, sku: str, quantity: int, postcode: str) -> Iterator[Wanted]:
    """So many orders that are all alike. `card` is a name of `CARDS` or a token."""
    for number in range(count):
        token = CARDS.get(card, card)
        yield Wanted(_request(number, card=token, sku=sku, quantity=quantity, postcode=postcode), None)


def with_cancellations(wanted: Iterable[Wanted], *, share: float, seed: int) -> Iterator[Wanted]:
    """The same orders, of which about this share of those that are confirmed is cancelled by its customers then."""
    chance = random.Random(f"cancellations of {seed}")
    for order in wanted:
        is_cancelled = order.ends == Order.Status.CONFIRMED and chance.random() < share
        yield msgspec.structs.replace(order, ends=Order.Status.REFUNDED.value) if is_cancelled else order


def _request(number: int, *, card: str, sku: str, quantity: int, postcode: str) -> OrderRequest:
    name = f"Customer {number + 1}"
    return OrderRequest(
        customer=Contact(name=name, email=f"customer-{number + 1}@example.com"),
        ship_to=Address(name=name, line1="Main Street 1", city="Berlin", postcode=postcode, country="DE"),
        payment_token=card,
        lines=((sku, quantity),),
    )
