"""The port to a carrier, and the carrier that the demonstration ships with.

A booking's key is the carrier's own reference: booking twice under one key is one parcel, and a key that was
cancelled is never booked afterwards.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec
from django.conf import settings

from contracts.values import Address

UNSERVED_POSTCODE = "00000"
EXPRESS_POSTCODE = "99999"
"""Parcels to this address leave the moment they are booked."""


class Booked(msgspec.Struct, frozen=True, tag="booked"):
    tracking: str


class NotServed(msgspec.Struct, frozen=True, tag="not_served"):
    detail: str


class Recalled(msgspec.Struct, frozen=True, tag="recalled"):
    """The parcel stays here."""


class Left(msgspec.Struct, frozen=True, tag="left"):
    detail: str


class Carrier(Protocol):
    """What shipping needs of a carrier. Raises `TransientError` where the carrier cannot be asked."""

    def book(self, ship_to: Address, *, key: str) -> Booked | NotServed:
        """Book a parcel, once for each key."""
        ...

    def cancel(self, *, booking_key: str) -> None:
        """Take back what was booked under this key, and shut the key, whether anything was or not."""
        ...

    def recall(self, *, tracking: str, booked_at: datetime, key: str) -> Recalled | Left:
        """Stop a booked parcel, if it has not left; the answer to one key is always the same."""
        ...


class DemonstrationCarrier:
    """Serves every address but those with postcode 00000, and picks parcels up `CARRIER_PICKUP_AFTER` seconds later.

    Those with postcode 99999 leave at once. It keeps nothing: a tracking number follows from its key.
    """

    def book(self, ship_to: Address, *, key: str) -> Booked | NotServed:
        if ship_to.postcode == UNSERVED_POSTCODE:
            return NotServed(f"postcode {ship_to.postcode} is not served")
        kind = "MX" if ship_to.postcode == EXPRESS_POSTCODE else "MG"
        return Booked(kind + hashlib.sha256(key.encode()).hexdigest()[:12].upper())

    def cancel(self, *, booking_key: str) -> None:
        """Nothing is kept, so nothing is to be taken back."""

    def recall(self, *, tracking: str, booked_at: datetime, key: str) -> Recalled | Left:
        picked_up_at = booked_at + timedelta(seconds=settings.CARRIER_PICKUP_AFTER)
        if tracking.startswith("MX"):
            return Left("it left at once")
        if datetime.now(UTC) >= picked_up_at:
            return Left(f"it left at {picked_up_at:%Y-%m-%d %H:%M} UTC")
        return Recalled()
