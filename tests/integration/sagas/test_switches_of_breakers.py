"""A circuit breaker holds sagas back: what the operators' worker makes of its news."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from contracts.operations import LapsePauseSwitch, NoteClosedBreaker, NoteOpenBreaker
from deadletters.desk import Operator
from messaging.consumer import consume
from messaging.models import OutboxMessage
from sagas import switching
from sagas.models import PauseSwitch
from sagas.switches import SwitchKind
from tests.builders import a_delivery, an_envelope

pytestmark = pytest.mark.usefixtures("committed")

SHIPPING = {"service": "shipping", "gateway": "carrier"}


@pytest.fixture(autouse=True)
def lifted_afterwards() -> Iterator[None]:
    yield
    long_ago = timezone.now() - timedelta(hours=1)
    PauseSwitch.objects.filter(name="shipping").update(lifted_at=long_ago, lifted_by="the test")


def tell(message) -> None:
    consume("operations", a_delivery(message, an_envelope(message, occurred_at=timezone.now())))


def set_now() -> PauseSwitch | None:
    return PauseSwitch.objects.filter(name="shipping", lifted_at__isnull=True).first()


def test_an_open_breaker_holds_its_service_back_until_it_closes():
    now = timezone.now()
    tell(NoteOpenBreaker(**SHIPPING, at=now, until=now + timedelta(minutes=6)))
    switch = set_now()

    assert (switch.is_automatic, switch.set_by) == (True, "circuit breaker of the carrier")
    later = now + timedelta(minutes=12)
    tell(NoteOpenBreaker(**SHIPPING, at=now + timedelta(minutes=3), until=later))
    assert PauseSwitch.objects.get(id=switch.id).lapses_at == later
    row = OutboxMessage.objects.using("default").get(known_key=f"pause-switch:{switch.id}:lapse")
    assert row.available_at == later

    tell(NoteClosedBreaker(**SHIPPING, at=now + timedelta(minutes=4)))

    assert set_now() is None
    assert PauseSwitch.objects.get(id=switch.id).lifted_by == "circuit breaker of the carrier"
    assert not OutboxMessage.objects.using("default").filter(id=row.id).exists()


def test_news_that_comes_after_the_breaker_has_closed_sets_nothing():
    now = timezone.now()
    tell(NoteOpenBreaker(**SHIPPING, at=now, until=now + timedelta(minutes=6)))
    tell(NoteClosedBreaker(**SHIPPING, at=now + timedelta(seconds=10)))

    tell(NoteOpenBreaker(**SHIPPING, at=now + timedelta(seconds=5), until=now + timedelta(minutes=7)))

    assert set_now() is None


def test_a_switch_without_news_lapses_and_one_that_was_put_off_does_not():
    now = timezone.now()
    tell(NoteOpenBreaker(**SHIPPING, at=now, until=now + timedelta(minutes=6)))
    switch = set_now()
    tell(LapsePauseSwitch(switch_id=switch.id))
    assert set_now() is not None

    PauseSwitch.objects.filter(id=switch.id).update(lapses_at=now)
    tell(LapsePauseSwitch(switch_id=switch.id))

    assert set_now() is None
    assert PauseSwitch.objects.get(id=switch.id).lifted_by == "by itself"


def test_a_persons_switch_is_no_breakers_to_lift():
    now = timezone.now()
    anna = Operator(name="anna", may=lambda permission: True)
    mine = switching.set_switch(SwitchKind.SERVICE, "shipping", operator=anna, reason="strike", at=now)

    tell(NoteOpenBreaker(**SHIPPING, at=now, until=now + timedelta(minutes=6)))
    tell(NoteClosedBreaker(**SHIPPING, at=now + timedelta(minutes=1)))

    assert set_now() == mine


def test_a_service_that_no_saga_uses_is_not_held_back():
    now = timezone.now()
    tell(
        NoteOpenBreaker(
            service="notifications", gateway="mail server", at=now, until=now + timedelta(minutes=6)
        )
    )

    assert not PauseSwitch.objects.filter(name="notifications").exists()
