"""A gateway that fails again and again is left alone: its messages wait, burn no attempt, and one at a time probes."""

import select
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from uuid import uuid4

import msgspec
import pytest
from django.conf import settings
from django.db import connections, transaction

from billing.handlers import AuthorizePayment, VoidPayment
from billing.models import Payment
from messaging import breaker
from messaging.breaker import Asking
from messaging.consumer import consume
from messaging.delivery import Delivery
from messaging.envelope import utc_now
from messaging.errors import PermanentError, TransientError
from messaging.handling import handlers_of
from messaging.models import CircuitBreaker, FailedAttempt, IdempotencyKey, OutboxMessage
from messaging.settlement import Rejected
from tests.builders import a_delivery, a_step_key, an_envelope, authorize_payment
from tests.integration.gateway_double import GatewayDouble, Killed, killed

pytestmark = pytest.mark.usefixtures("committed")
BILLING = settings.SERVICES["billing"]
MOST = settings.BREAKER_FAILURES


def no_answer() -> None:
    raise TransientError("no answer")


class Authorization:
    """The command to authorize one order's payment, and what has become of it."""

    def __init__(self, card: str = "tok_visa") -> None:
        self.order_id, self.saga_id = uuid4(), uuid4()
        self.command = authorize_payment(self.order_id, card=card)
        self.key = a_step_key("authorize", saga_id=self.saga_id)
        self.envelope = an_envelope(self.command, key=self.key)

    def deliver(self) -> None:
        """For the first time, or again by a broker that has had no acknowledgement."""
        consume("billing", a_delivery(self.command, self.envelope))

    def void(self) -> None:
        undo_key = a_step_key("authorize", saga_id=self.saga_id, is_compensation=True)
        void = VoidPayment(order_id=self.order_id)
        consume("billing", a_delivery(void, an_envelope(void, key=undo_key)))

    @property
    def rows(self) -> list[OutboxMessage]:
        """The command's own rows in the outbox: what waits to be delivered to billing again."""
        rows = OutboxMessage.objects.using(BILLING).filter(
            headers__correlation_id=str(self.order_id), exchange=""
        )
        return list(rows.order_by("id"))

    @property
    def row(self) -> OutboxMessage:
        (row,) = self.rows
        return row

    def relay(self) -> None:
        """Deliver the row that waits, as relay and broker would once it is due."""
        row = self.row
        row.delete(using=BILLING)
        consume(
            "billing", Delivery(headers=row.headers, payload=row.body, exchange="", routing_key="billing")
        )

    @property
    def burnt(self) -> int:
        return FailedAttempt.objects.using(BILLING).filter(message_id=self.envelope.message_id).count()

    @property
    def state(self) -> str | None:
        return Payment.objects.filter(order_id=self.order_id).values_list("state", flat=True).first()


class Breaker:
    """The breaker of a gateway that this test has for itself."""

    def __init__(self, gateway: str) -> None:
        self.gateway = gateway

    @property
    def row(self) -> CircuitBreaker | None:
        return CircuitBreaker.objects.using(BILLING).filter(service="billing", gateway=self.gateway).first()

    @property
    def is_open(self) -> bool:
        return self.row is not None and self.row.state == "open"

    def change(self, **fields: object) -> None:
        rows = CircuitBreaker.objects.using(BILLING).filter(service="billing", gateway=self.gateway)
        assert rows.update(**fields) == 1

    def let_probe_time_come(self) -> datetime:
        now = utc_now()
        self.change(probe_at=now)
        return now

    def let_lease_end(self, authorization: Authorization) -> None:
        """Time goes by until the process that made the probe may be taken for dead."""
        past = utc_now() - timedelta(milliseconds=1)
        self.change(probing_until=past)
        keys = IdempotencyKey.objects.using(BILLING).filter(key=authorization.key, state="started")
        assert keys.update(lease_until=past) == 1


@pytest.fixture
def circuit(monkeypatch: pytest.MonkeyPatch) -> Breaker:
    """Billing's handlers, with a gateway of a name of its own."""
    name = f"gateway {uuid4().hex[:8]}"
    for message_type in (AuthorizePayment, VoidPayment):
        declared = handlers_of("billing")[message_type.wire_type]
        own = msgspec.structs.replace(declared, gateway=name)
        monkeypatch.setitem(handlers_of("billing"), message_type.wire_type, own)
    return Breaker(name)


@pytest.fixture
def open_circuit(circuit: Breaker, gateway: GatewayDouble) -> Iterator[Breaker]:
    """The breaker, opened by as many failures as that takes. The gateway is well again, which nobody knows yet."""
    gateway.before_answer += [no_answer] * MOST
    for _ in range(MOST):
        Authorization().deliver()
    assert circuit.is_open
    gateway.calls.clear()
    yield circuit


def deliver_all(authorizations: list[Authorization]) -> list[Authorization]:
    for authorization in authorizations:
        authorization.deliver()
    return authorizations


# --- when it opens ----------------------------------------------------------------------------------------


def test_failures_in_a_row_open_it_and_the_next_message_is_not_asked(circuit, gateway, caplog):
    gateway.before_answer += [no_answer] * MOST
    failed = deliver_all([Authorization() for _ in range(MOST)])
    later = Authorization()

    later.deliver()

    assert circuit.is_open
    assert len(gateway.calls) == MOST
    assert [authorization.burnt for authorization in failed] == [1] * MOST, "until it opens, attempts count"
    assert (later.burnt, later.row.headers.get("attempt", 1)) == (0, 1)
    assert (later.row.waits_for, later.row.routing_key) == (circuit.gateway, "billing")
    assert IdempotencyKey.objects.using(BILLING).filter(key=later.key).count() == 0
    opened = [line for line in caplog.messages if f"{circuit.gateway} has failed {MOST} times" in line]
    assert len(opened) == 1


def test_a_success_in_between_begins_the_count_anew(circuit, gateway):
    gateway.before_answer += [*[no_answer] * (MOST - 1), lambda: None, *[no_answer] * (MOST - 1)]

    deliver_all([Authorization() for _ in range(2 * MOST - 1)])

    assert not circuit.is_open
    assert circuit.row.failures == MOST - 1


def test_refusals_are_answers(circuit, gateway):
    """A storm of declined cards, and of requests that the gateway finds wrong, opens nothing."""

    def bad_request() -> None:
        raise PermanentError("400")

    gateway.before_answer += [no_answer] * (MOST - 1)
    deliver_all([Authorization() for _ in range(MOST - 1)])
    deliver_all([Authorization(card="tok_declined") for _ in range(2 * MOST)])
    assert circuit.row.failures == 0

    for _ in range(2 * MOST):
        gateway.before_answer.append(bad_request)
        with pytest.raises(Rejected):
            Authorization().deliver()
    assert (circuit.is_open, circuit.row.failures) == (False, 0)


def test_a_conclusion_that_fails_is_not_the_gateway_s_failure(circuit, gateway, monkeypatch):
    def fail(*_: object) -> None:
        raise ValueError("cannot be stored")

    monkeypatch.setattr("billing.services.record_authorization", fail)
    deliver_all([Authorization() for _ in range(MOST)])

    assert circuit.row is None


def test_a_call_that_was_under_way_when_it_opened_burns_no_attempt(circuit, gateway):
    slow = Authorization()

    def opened_meanwhile() -> None:
        gateway.before_answer += [no_answer] * MOST
        deliver_all([Authorization() for _ in range(MOST)])
        assert circuit.is_open
        no_answer()

    gateway.before_answer.append(opened_meanwhile)
    slow.deliver()

    assert slow.burnt == 0
    assert (slow.row.waits_for, slow.row.headers.get("attempt", 1)) == (circuit.gateway, 1)


# --- while it is open -------------------------------------------------------------------------------------


def test_one_waiting_message_is_due_at_the_probe_and_the_others_well_behind(open_circuit):
    first, *others = deliver_all([Authorization() for _ in range(4)])

    probe_at = open_circuit.row.probe_at
    assert first.row.available_at == probe_at
    longest = timedelta(seconds=settings.BREAKER_LONGEST_PAUSE)
    for other in others:
        assert probe_at + longest <= other.row.available_at <= probe_at + 2 * longest
    assert len({other.row.available_at for other in others}) == 3, "spread, not all at once"


def test_a_repeated_message_waits_too_and_its_attempt_stays(circuit, gateway):
    """Its key is `started` from the attempt before: the way of taking over."""
    gateway.before_answer += [no_answer] * MOST
    first, *_ = deliver_all([Authorization() for _ in range(MOST)])

    first.relay()

    assert first.row.headers["attempt"] == 2
    assert (first.row.waits_for, first.burnt, len(gateway.calls)) == (circuit.gateway, 1, MOST)


def test_a_compensation_waits_for_the_same_gateway_and_shuts_nothing_out_meanwhile(open_circuit, gateway):
    authorization = Authorization()

    authorization.void()

    assert gateway.calls == []
    assert authorization.row.type == VoidPayment.wire_type
    assert authorization.row.waits_for == open_circuit.gateway
    assert IdempotencyKey.objects.using(BILLING).filter(key=authorization.key).count() == 0


def test_a_finished_command_is_answered_again_all_the_same(circuit, gateway):
    authorization = Authorization()
    authorization.deliver()
    gateway.before_answer += [no_answer] * MOST
    deliver_all([Authorization() for _ in range(MOST)])

    authorization.deliver()

    replies = OutboxMessage.objects.using(BILLING).filter(headers__correlation_id=str(authorization.order_id))
    assert [row.type for row in replies] == ["billing.payment_authorized.v1"] * 2


def test_a_worker_that_dies_before_it_acknowledges_makes_a_copy_and_loses_nothing(open_circuit, gateway):
    authorization = Authorization()
    authorization.deliver()
    authorization.deliver()
    open_circuit.let_probe_time_come()

    for row in authorization.rows:
        consume(
            "billing", Delivery(headers=row.headers, payload=row.body, exchange="", routing_key="billing")
        )

    assert (gateway.effects, authorization.state, authorization.burnt) == (MOST + 1, "authorized", 0)


# --- the probe --------------------------------------------------------------------------------------------


def test_of_many_deliveries_at_once_one_is_the_probe(open_circuit, gateway):
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
        _until(lambda: sum(thread.is_alive() for thread in threads) == 1)
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


def _until(condition: Callable[[], bool], *, timeout: float = 60) -> None:
    waiting = threading.Event()
    deadline = utc_now() + timedelta(seconds=timeout)
    while not condition():
        assert utc_now() < deadline, "it did not come true"
        waiting.wait(0.02)


def test_a_message_is_put_back_without_a_look_at_all_that_wait(open_circuit: Breaker) -> None:
    asking = Asking(service="billing", gateway=open_circuit.gateway)
    with transaction.atomic(using=BILLING), connections[BILLING].cursor() as cursor:
        cursor.execute(
            "INSERT INTO messaging_outboxmessage (message_id, service, type, exchange, routing_key, headers, body, "
            "available_at, created_at, failures, last_error, waits_for) "
            "SELECT gen_random_uuid(), 'billing', 'x', '', 'billing', '{}', '{}', now() + interval '1 minute', now(), "
            "0, '', %s FROM generate_series(1, 5000)",
            [asking.gateway],
        )
        cursor.execute("ANALYZE messaging_outboxmessage")
        cursor.execute(f"EXPLAIN {breaker._WAIT}", asking.names)
        plan = "\n".join(line for (line,) in cursor.fetchall())
        transaction.set_rollback(True, using=BILLING)

    assert "Seq Scan on messaging_outboxmessage" not in plan, plan
    assert "outbox_waiting_by_date" in plan, plan
