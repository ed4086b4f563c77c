"""The cart: a signed cookie. Looking around writes nothing to the database."""

import secrets
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse

COOKIE = "cart"
SALT = "orders.cart"
MOST_PIECES = 99
"""Of one article in one order."""
MOST_ARTICLES = 20
"""Different ones in one order; more would not fit into a cookie."""
MAX_AGE = 60 * 60 * 24 * 30


class CartFull(Exception):
    """The cart holds as many different articles as it can."""


@dataclass(frozen=True, kw_only=True)
class Cart:
    """What the customer wants: (sku, quantity), each sku once, in the order of choosing.

    `checkout_key` is the key of the order that this very cart will become. Each tab that shows the checkout
    of an unchanged cart gets the same one, so that it is ordered once; any change forgets it.
    """

    lines: tuple[tuple[str, int], ...] = ()
    checkout_key: str = ""
    is_unreadable: bool = False
    """Whether there was a cookie that this shop did not write, so that the cart begins empty."""

    @property
    def pieces(self) -> int:
        return sum(quantity for _, quantity in self.lines)

    def quantity_of(self, sku: str) -> int:
        return dict(self.lines).get(sku, 0)

    def with_quantity(self, sku: str, quantity: int) -> "Cart":
        """The cart with exactly so many pieces of the article, at most `MOST_PIECES`; none removes it.

        Raises `CartFull` where there is no room for one more article.
        """
        lines = dict(self.lines)
        if quantity > 0:
            if sku not in lines and len(lines) >= MOST_ARTICLES:
                raise CartFull
            lines[sku] = min(quantity, MOST_PIECES)
        else:
            lines.pop(sku, None)
        if lines == dict(self.lines):
            return self
        return replace(self, lines=tuple(lines.items()), checkout_key="")

    def with_checkout_key(self) -> "Cart":
        """The cart with the key of its order, made now unless it has one."""
        return self if self.checkout_key else replace(self, checkout_key=secrets.token_urlsafe(24))


def read_cart(request: HttpRequest) -> Cart:
    """The customer's cart; an empty one where there is no cookie, or none that this shop has signed."""
    cookie = request.COOKIES.get(COOKIE)
    if cookie is None:
        return Cart()
    try:
        return _parsed(signing.loads(cookie, salt=SALT, max_age=MAX_AGE))
    except (signing.BadSignature, ValueError):
        return Cart(is_unreadable=True)


def write_cart(response: HttpResponse, cart: Cart) -> None:
    """Have the browser keep this cart; an empty one is deleted there."""
    if not cart.lines:
        response.delete_cookie(COOKIE, samesite="Lax")
        return
    contents = {"lines": [list(line) for line in cart.lines], "checkout_key": cart.checkout_key}
    response.set_cookie(
        COOKIE,
        signing.dumps(contents, salt=SALT, compress=True),
        max_age=MAX_AGE,
        httponly=True,
        samesite="Lax",
        secure=settings.SESSION_COOKIE_SECURE,
    )


def _parsed(contents: Any) -> Cart:
    """Raises `ValueError` for what an earlier release may have signed and this one cannot read."""
    match contents:
        case {"lines": list(lines), "checkout_key": str(key)} if lines:
            return Cart(lines=tuple(_parsed_line(line) for line in lines), checkout_key=key)
    raise ValueError("The cart cookie has another shape.")


def _parsed_line(line: Any) -> tuple[str, int]:
    match line:
        case [str(sku), int(quantity)] if 1 <= quantity <= MOST_PIECES:
            return sku, quantity
    raise ValueError("The cart cookie has another shape.")
