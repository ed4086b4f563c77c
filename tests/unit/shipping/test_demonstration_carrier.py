"""The demonstration's carrier: which parcels it stops, and which have left."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from contracts.values import Address
from shipping.carrier import Booked, DemonstrationCarrier, Left, NotServed, Recalled
from tests.builders import LONDON

HOUR = timedelta(hours=1)


@pytest.fixture
def carrier(settings) -> DemonstrationCarrier:
    settings.CARRIER_PICKUP_AFTER = 3600
    return DemonstrationCarrier()


def address(postcode: str) -> Address:
    return msgspec.structs.replace(LONDON, postcode=postcode)


def booked(carrier: DemonstrationCarrier, postcode: str) -> str:
    outcome = carrier.book(address(postcode), key="saga:ship:1:action")
    assert isinstance(outcome, Booked)
    return outcome.tracking


def test_a_parcel_is_stopped_until_it_is_picked_up(carrier):
    tracking = booked(carrier, "10115")
    now = datetime.now(UTC)

    assert carrier.recall(tracking=tracking, booked_at=now, key="recall") == Recalled()
    late = carrier.recall(tracking=tracking, booked_at=now - HOUR, key="recall")
    assert isinstance(late, Left)
    assert late.detail == f"it left at {now:%Y-%m-%d %H:%M} UTC"


def test_a_parcel_to_99999_leaves_at_once(carrier):
    tracking = booked(carrier, "99999")

    assert carrier.recall(tracking=tracking, booked_at=datetime.now(UTC), key="recall") == Left(
        "it left at once"
    )


def test_nothing_is_booked_to_00000(carrier):
    assert carrier.book(address("00000"), key="k") == NotServed("postcode 00000 is not served")


def test_booking_again_under_one_key_is_the_same_parcel(carrier):
    assert booked(carrier, "10115") == booked(carrier, "10115")
