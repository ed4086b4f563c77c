"""While a gateway is left alone, one message at a time asks whether it is back."""

import select
import threading
from datetime import timedelta
from itertools import pairwise

import msgspec
import pytest
from django.db import connections

from billing.handlers import AuthorizePayment
from messaging.envelope import utc_now
from messaging.errors import PermanentError
from messaging.handling import handlers_of
from messaging.settlement import Rejected
from tests.integration.messaging.breakers import BILLING, Authorization, deliver_all, no_answer

pytestmark = pytest.mark.usefixtures("committed")


# --- the probe --------------------------------------------------------------------------------------------


def test_of_many_deliveries_at_once_one_is_the_probe(open_circuit, gateway, eventually):
    """Eight connections at the very moment: the conditional update lets one through."""
    open_circuit.let_probe_time_come()
    authorizations = [Authorization() for _ in range(8)]
    together, may_answer = threading.Barrier(9), threading.Event()
    gateway.before_answer.append(lambda: may_answer.wait(60) and None)

    def run(authorization: Authorization) -> None:
        try:
            together.wait(60)
            authorization.deliver()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(authorization,)) for authorization in authorizations]
    for thread in threads:
        thread.start()
    try:
        together.wait(60)
        eventually(lambda: sum(thread.is_alive() for thread in threads) == 1)
        assert len(gateway.calls) == 1
        assert open_circuit.row.probing_until > utc_now()
        assert sum(authorization.rows != [] for authorization in authorizations) == 7
    finally:
        may_answer.set()
        for thread in threads:
            thread.join(60)

    assert not open_circuit.is_open
    assert len(gateway.calls) == 1
    assert [authorization.burnt for authorization in authorizations] == [0] * 8


def test_a_probe_that_succeeds_closes_it_and_lets_the_others_go_on_one_after_the_other(
    open_circuit, gateway, caplog, settings
):
    settings.BREAKER_RELEASE_RATE = 10
    waiting = deliver_all([Authorization() for _ in range(4)])
    before = open_circuit.let_probe_time_come()

    waiting[0].relay()

    closed = open_circuit.row
    assert (closed.state, closed.failures, closed.probe_at, closed.probing_until) == ("closed", 0, None, None)
    assert waiting[0].state == "authorized"
    rows = [authorization.row for authorization in waiting[1:]]
    assert [row.waits_for for row in rows] == [""] * 3
    assert rows[0].available_at >= before
    gaps = [b.available_at - a.available_at for a, b in pairwise(rows)]
    assert gaps == [timedelta(seconds=0.1)] * 2
    for authorization in waiting[1:]:
        authorization.relay()
    assert [authorization.state for authorization in waiting] == ["authorized"] * 4
    assert [authorization.burnt for authorization in waiting] == [0] * 4
    (line,) = [line for line in caplog.messages if f"{open_circuit.gateway} answers again" in line]
    assert "3 waiting messages" in line


def test_a_refusal_closes_it_too_and_wakes_the_relay(open_circuit, gateway):
    """The probe itself has nothing to send: the waiting messages have."""

    def bad_request() -> None:
        raise PermanentError("400")

    gateway.before_answer.append(bad_request)
    waiting = Authorization()
    waiting.deliver()
    open_circuit.let_probe_time_come()
    listener = connections[BILLING].copy()
    with listener.cursor() as cursor:
        cursor.execute("LISTEN outbox")

    with pytest.raises(Rejected, match="400"):
        Authorization().deliver()

    assert not open_circuit.is_open
    assert waiting.row.waits_for == ""
    select.select([listener.connection], [], [], 60)
    listener.connection.poll()
    assert listener.connection.notifies
    listener.close()


def test_a_probe_whose_conclusion_fails_closes_it_and_counts_as_an_attempt(
    open_circuit, gateway, monkeypatch
):
    def fail(*_: object) -> None:
        raise ValueError("cannot be stored")

    monkeypatch.setattr("billing.services.record_authorization", fail)
    open_circuit.let_probe_time_come()
    authorization = Authorization()

    authorization.deliver()

    assert not open_circuit.is_open
    assert (authorization.burnt, authorization.row.waits_for) == (1, "")


def test_a_probe_that_fails_waits_again_unburnt_and_another_message_is_the_next(open_circuit, gateway):
    """So a message that no gateway can digest does not hold up those behind it."""
    probe, second, third = deliver_all([Authorization() for _ in range(3)])
    now = open_circuit.let_probe_time_come()
    gateway.before_answer.append(no_answer)

    probe.relay()

    after = open_circuit.row
    assert (after.state, after.probing_until) == ("open", None)
    assert after.probe_at > now
    assert (probe.burnt, probe.row.headers.get("attempt", 1)) == (0, 1)
    assert second.row.available_at == after.probe_at
    assert min(probe.row.available_at, third.row.available_at) > after.probe_at
    assert probe.row.waits_for == second.row.waits_for == third.row.waits_for == open_circuit.gateway


def test_the_only_waiting_message_probes_again(open_circuit, gateway):
    probe = Authorization()
    open_circuit.let_probe_time_come()
    gateway.before_answer += [no_answer] * 3

    probe.deliver()
    for _ in range(2):
        assert probe.row.available_at == open_circuit.row.probe_at
        open_circuit.let_probe_time_come()
        probe.relay()

    assert (probe.burnt, len(gateway.calls)) == (0, 3)
    open_circuit.let_probe_time_come()
    probe.relay()
    assert probe.state == "authorized"


@pytest.mark.parametrize(("open_for", "pause"), [(0.1, 1), (8, 8), (4000, 30)])
def test_the_pause_between_probes_grows_with_the_time_since_the_opening(
    open_circuit, gateway, settings, open_for, pause
):
    settings.BREAKER_FIRST_PAUSE, settings.BREAKER_LONGEST_PAUSE = 1, 30
    now = open_circuit.let_probe_time_come()
    open_circuit.change(opened_at=now - timedelta(seconds=open_for))
    gateway.before_answer.append(no_answer)

    Authorization().deliver()

    assert open_circuit.row.probe_at - now == pytest.approx(
        timedelta(seconds=pause), abs=timedelta(seconds=2)
    )


def test_a_probe_that_may_not_be_made_after_all_gives_its_turn_back(open_circuit, gateway, monkeypatch):
    """What is to be asked cannot be put together: that is the message's own failure, before the gateway is asked."""

    def cannot(command: object, action: object) -> None:
        raise ValueError("nothing to ask")

    declared = handlers_of("billing")[AuthorizePayment.wire_type]
    own = msgspec.structs.replace(declared, prepare=cannot)
    monkeypatch.setitem(handlers_of("billing"), AuthorizePayment.wire_type, own)
    open_circuit.let_probe_time_come()
    authorization = Authorization()

    authorization.deliver()

    assert authorization.burnt == 1
    assert (open_circuit.row.state, open_circuit.row.probing_until) == ("open", None)
