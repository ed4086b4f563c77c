"""A gateway that fails again and again is left alone: its messages wait and burn no attempt."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connections, transaction

from billing.handlers import VoidPayment
from messaging import breaker
from messaging.breaker import Asking
from messaging.consumer import consume
from messaging.delivery import Delivery
from messaging.errors import PermanentError
from messaging.models import IdempotencyKey, OutboxMessage
from messaging.settlement import Rejected
from tests.integration.messaging.breakers import BILLING, MOST, Authorization, Breaker, deliver_all, no_answer

pytestmark = pytest.mark.usefixtures("committed")


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
