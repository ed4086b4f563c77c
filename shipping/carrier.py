"""The port to a carrier, and the carrier that the demonstration ships with.

A booking's key is the carrier's own reference: booking twice under one key is one parcel, and a key that was
cancelled is never booked afterwards.
"""

import hashlib
from typing import Protocol

import msgspec

from contracts.values import Address

UNSERVED_POSTCODE = "00000"


class Booked(msgspec.Struct, frozen=True, tag="booked"):
    tracking: str


class NotServed(msgspec.Struct, frozen=True, tag="not_served"):
    detail: str


class Carrier(Protocol):
    """What shipping needs of a carrier. Raises `TransientError` where the carrier cannot be asked."""

    def book(self, ship_to: Address, *, key: str) -> Booked | NotServed:
        """Book a parcel, once for each key."""
        ...

    def cancel(self, *, booking_key: str) -> None:
        """Take back what was booked under this key, and shut the key, whether anything was or not."""
        ...


class DemonstrationCarrier:
    """Serves every address but those with postcode 00000. It keeps nothing: a tracking number follows from its key."""

    def book(self, ship_to: Address, *, key: str) -> Booked | NotServed:
        if ship_to.postcode == UNSERVED_POSTCODE:
            return NotServed(f"postcode {ship_to.postcode} is not served")
        return Booked("MG" + hashlib.sha256(key.encode()).hexdigest()[:12].upper())

    def cancel(self, *, booking_key: str) -> None:
        """Nothing is kept, so nothing is to be taken back."""
