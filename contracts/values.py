"""Values that several messages share."""

from typing import Annotated

import msgspec

Quantity = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Sku = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9-]*$")]


class Money(msgspec.Struct, frozen=True):
    """An amount in minor units (cents) of an ISO 4217 currency."""

    amount: Annotated[int, msgspec.Meta(ge=0)]
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$")]

    def __str__(self) -> str:
        return f"{self.amount / 100:,.2f} {self.currency}"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """So many pieces of one article."""

    sku: Sku
    quantity: Quantity


class PricedLine(msgspec.Struct, frozen=True, kw_only=True):
    """So many pieces of one article, under the name and at the price for one piece that the customer saw."""

    sku: Sku
    name: str
    quantity: Quantity
    unit_price: Money


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a parcel goes."""

    name: str
    line1: str
    city: str
    postcode: str
    country: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}$")]


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told about an order."""

    name: str
    email: str
