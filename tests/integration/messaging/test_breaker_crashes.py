"""Whoever dies in the middle, and whatever comes at the same time: each message ends well, and none is overlooked."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connections, transaction

from messaging import breaker
from messaging.breaker import Asking
from messaging.envelope import utc_now
from tests.builders import a_delivery
from tests.integration.gateway_double import Killed, killed
from tests.integration.messaging.breakers import BILLING, MOST, Authorization, no_answer

pytestmark = pytest.mark.usefixtures("committed")


# --- crashes ----------------------------------------------------------------------------------------------


def test_a_probe_that_dies_is_followed_by_another_when_its_lease_has_ended(open_circuit, gateway):
    """Killed in the call: the broker delivers its message again, and meanwhile nobody else probes."""
    dying, other = Authorization(), Authorization()
    open_circuit.let_probe_time_come()
    gateway.before_answer.append(killed)
    with pytest.raises(Killed):
        dying.deliver()
    lease_until = open_circuit.row.probing_until
    assert lease_until > utc_now()

    other.deliver()
    dying.deliver()
    assert len(gateway.calls) == 1, "no second probe while the first may be alive"
    assert other.row.available_at == lease_until
    assert dying.row.available_at == lease_until

    open_circuit.let_lease_end(dying)
    other.relay()
    dying.relay()

    assert not open_circuit.is_open
    assert (other.state, dying.state) == ("authorized", "authorized")
    assert (other.burnt, dying.burnt) == (0, 0)
    assert gateway.effects == MOST + 2


@pytest.mark.parametrize("at", ["wait", "answered", "failed", "permitted"])
def test_a_crash_at_any_point_of_it_leaves_a_message_that_ends_well(open_circuit, gateway, monkeypatch, at):
    """Killed as the function ends, with its transaction still open: the broker delivers the message again."""
    original: Callable[..., object] = getattr(breaker, at)
    authorization = Authorization()
    if at != "wait":
        open_circuit.let_probe_time_come()
    if at == "failed":
        gateway.before_answer.append(no_answer)

    def dies(*args: object, **kwargs: object) -> None:
        original(*args, **kwargs)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(breaker, at, dies)
        with pytest.raises(Killed):
            authorization.deliver()
    assert authorization.rows == [], "what was not committed has not happened"
    assert open_circuit.is_open
    if at in ("answered", "failed"):
        assert open_circuit.row.probing_until > utc_now()
        open_circuit.let_lease_end(authorization)
    open_circuit.let_probe_time_come()

    authorization.deliver()

    assert not open_circuit.is_open
    assert (authorization.state, authorization.burnt) == ("authorized", 0)
    assert gateway.effects == MOST + 1


def test_a_probe_that_outlives_its_lease_changes_nothing_of_the_next(open_circuit, gateway):
    slow, next_one = Authorization(), Authorization()
    open_circuit.let_probe_time_come()
    seen = []

    def overtaken() -> None:
        open_circuit.let_lease_end(slow)
        gateway.before_answer.insert(0, late_failure)
        next_one.deliver()
        no_answer()

    def late_failure() -> None:
        seen.append(open_circuit.row.probing_until)

    gateway.before_answer.append(overtaken)
    slow.deliver()

    assert seen[0] > utc_now()
    assert next_one.state == "authorized"
    assert not open_circuit.is_open, "the later probe has closed it, and the late failure leaves it so"
    assert (slow.burnt, slow.row.waits_for) == (0, "")
    slow.relay()
    assert slow.state == "authorized"


# --- closing and waiting at the same time -----------------------------------------------------------------


def test_no_message_is_put_back_behind_the_closing_unseen(open_circuit, gateway):
    """It waits while the breaker closes: it is due at once, not at some far date."""
    authorization = Authorization()
    asking = Asking(service="billing", gateway=open_circuit.gateway)
    open_circuit.let_probe_time_come()
    is_waiting = threading.Event()

    def put_back() -> None:
        try:
            with transaction.atomic(using=BILLING):
                is_waiting.set()
                breaker.wait(
                    asking,
                    envelope=authorization.envelope,
                    delivery=a_delivery(authorization.command, authorization.envelope),
                )
        finally:
            connections.close_all()

    other = threading.Thread(target=put_back)
    with transaction.atomic(using=BILLING):
        now = utc_now()
        probe = breaker.permitted(asking, now=now, lease_until=now + timedelta(minutes=1))
        breaker.answered(probe, now=now)
        other.start()
        assert is_waiting.wait(60)
    other.join(60)

    assert authorization.row.waits_for == ""
    assert authorization.row.available_at <= utc_now()


def test_services_that_share_a_database_have_breakers_of_their_own(open_circuit):
    with transaction.atomic(using=BILLING):
        same = Asking(service="shipping", gateway=open_circuit.gateway)
        assert breaker.permitted(same, now=utc_now(), lease_until=utc_now()) == same
