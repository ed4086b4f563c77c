"""A handler that asks a gateway: two transactions and the call between them, safe at every point of a crash."""

from datetime import timedelta
from uuid import uuid4

import msgspec
import pytest
from django.conf import settings
from django.db import connections

from billing import handlers, services
from billing.models import Payment
from contracts.billing import VoidPayment
from contracts.operations import ReplaySucceeded
from eventstore.errors import ConcurrentAppend
from messaging.consumer import consume
from messaging.delivery import Delivery
from messaging.envelope import new_message_id, utc_now
from messaging.errors import TransientError
from messaging.models import IdempotencyKey
from tests.builders import a_delivery, a_step_key, an_envelope, authorize_payment
from tests.integration.gateway_double import Killed, killed

pytestmark = pytest.mark.usefixtures("committed")
BILLING = settings.SERVICES["billing"]


class Authorization:
    """One authorization command, delivered as often as the test likes, and what undoes it."""

    def __init__(self, card: str = "tok_visa") -> None:
        self.order_id, saga_id = uuid4(), uuid4()
        self.command = authorize_payment(self.order_id, card=card)
        self.key = a_step_key("authorize", saga_id=saga_id)
        self.envelope = an_envelope(self.command, key=self.key)
        void = VoidPayment(order_id=self.order_id)
        undo_key = a_step_key("authorize", saga_id=saga_id, is_compensation=True)
        self.undo_envelope = an_envelope(void, key=undo_key)
        self._void = void

    def deliver(self, *, is_redelivered: bool = False) -> None:
        consume("billing", a_delivery(self.command, self.envelope, is_redelivered=is_redelivered))

    def undo(self) -> None:
        consume("billing", a_delivery(self._void, self.undo_envelope))

    def let_lease_end(self) -> None:
        """Time goes by, until whoever holds the call may be taken for dead."""
        updated = (
            IdempotencyKey.objects.using(BILLING)
            .filter(key=self.key, state="started")
            .update(lease_until=utc_now() - timedelta(seconds=1))
        )
        assert updated == 1

    @property
    def state(self) -> str | None:
        return Payment.objects.filter(order_id=self.order_id).values_list("state", flat=True).first()


@pytest.fixture
def authorization() -> Authorization:
    return Authorization()


def crash_in_the_call(authorization: Authorization, gateway) -> None:
    """The gateway carries the call out, and the worker is killed before it has the answer."""
    gateway.before_answer.append(killed)
    with pytest.raises(Killed):
        authorization.deliver()


def test_no_transaction_is_open_while_the_gateway_is_asked(authorization, gateway, bookkeeping):
    seen = []
    gateway.before_answer.append(
        lambda: seen.append(
            (connections[BILLING].in_atomic_block, bookkeeping("billing").key(authorization.key).state)
        )
    )

    authorization.deliver()

    assert seen == [(False, "started")], "the key is committed as started before the call"
    assert bookkeeping("billing").key(authorization.key).state == "finished"
    assert gateway.calls == [authorization.key], "the call carries the key as the gateway's own"


def test_a_crash_after_the_call_leaves_started_and_the_call_is_repeated_with_the_same_key(
    authorization, gateway, bookkeeping
):
    crash_in_the_call(authorization, gateway)
    key = bookkeeping("billing").key(authorization.key)
    assert (key.state, key.fence, authorization.state) == ("started", 1, None)
    assert key.request["token"] == "tok_visa"

    authorization.let_lease_end()
    authorization.deliver(is_redelivered=True)

    assert gateway.calls == [authorization.key, authorization.key]
    assert gateway.effects == 1
    assert authorization.state == "authorized"
    key = bookkeeping("billing").key(authorization.key)
    assert (key.state, key.fence, key.request) == ("finished", 2, None)


def test_an_answer_that_collides_while_it_is_stored_is_stored_at_once_and_the_gateway_not_asked_again(
    authorization, gateway, bookkeeping, monkeypatch
):
    record = services.record_authorization
    collisions = iter([ConcurrentAppend(stream="payment", expected_version=0)])

    def collide_once(*args, **kwargs):
        for collision in collisions:
            raise collision
        return record(*args, **kwargs)

    monkeypatch.setattr(services, "record_authorization", collide_once)

    authorization.deliver()

    assert authorization.state == "authorized"
    assert gateway.calls == [authorization.key]
    assert bookkeeping("billing").failures(authorization.envelope.message_id) == []
    assert bookkeeping("billing").key(authorization.key).fence == 1


def test_while_the_lease_runs_another_delivery_comes_back_later(authorization, gateway, bookkeeping):
    crash_in_the_call(authorization, gateway)
    lease_until = bookkeeping("billing").key(authorization.key).lease_until

    authorization.deliver(is_redelivered=True)

    assert len(gateway.calls) == 1
    (later,) = bookkeeping("billing").outgoing(authorization.order_id)
    assert (later.type, later.exchange, later.routing_key) == (authorization.command.wire_type, "", "billing")
    assert later.available_at == lease_until
    assert later.headers.get("attempt", 1) == 1, "waiting is no failed attempt"


def test_who_has_lost_the_call_stores_nothing(authorization, gateway, bookkeeping):
    """A worker that was only slow comes back with its answer after another has taken the call over."""

    def overtaken() -> None:
        authorization.let_lease_end()
        authorization.deliver(is_redelivered=True)

    gateway.before_answer.append(overtaken)
    authorization.deliver()

    assert gateway.calls == [authorization.key] * 2
    assert Payment.objects.get(order_id=authorization.order_id).version == 1
    assert bookkeeping("billing").types_outgoing(authorization.order_id) == ["billing.payment_authorized.v1"]


def test_a_replay_that_has_lost_the_call_is_reported_all_the_same(authorization, gateway, bookkeeping):
    first = authorization.envelope
    authorization.envelope = msgspec.structs.replace(first, replay_id=new_message_id())

    def taken_over() -> None:
        authorization.let_lease_end()
        consume("billing", a_delivery(authorization.command, first))

    gateway.before_answer.append(taken_over)
    authorization.deliver()

    assert (gateway.effects, authorization.state) == (1, "authorized")
    sent = bookkeeping("billing").outgoing(authorization.order_id)
    reports = [message for message in sent if message.type == ReplaySucceeded.wire_type]
    assert [report.body["replay_id"] for report in reports] == [str(authorization.envelope.replay_id)]


def test_an_unknown_outcome_is_asked_again_without_waiting_for_the_lease(authorization, gateway, bookkeeping):
    def lost() -> None:
        raise TransientError("no answer")

    gateway.before_answer.append(lost)
    authorization.deliver()

    books = bookkeeping("billing")
    assert books.key(authorization.key).state == "started"
    assert books.key(authorization.key).lease_until <= utc_now()
    (failure,) = books.failures(authorization.envelope.message_id)
    assert failure.exception == "TransientError: no answer"
    (retry,) = books.outgoing(authorization.order_id)
    consume(
        "billing", Delivery(headers=retry.headers, payload=retry.body, exchange="", routing_key="billing")
    )
    assert gateway.effects == 1
    assert authorization.state == "authorized"


def test_a_finished_call_is_answered_without_asking_again(authorization, gateway, bookkeeping):
    authorization.deliver()
    authorization.deliver()

    assert len(gateway.calls) == 1
    first, again = bookkeeping("billing").outgoing(authorization.order_id)
    assert first.message_id == again.message_id


def test_a_declined_card_is_a_reply(gateway, bookkeeping):
    authorization = Authorization(card="tok_declined")

    authorization.deliver()

    assert bookkeeping("billing").types_outgoing(authorization.order_id) == ["billing.payment_declined.v1"]
    assert authorization.state == "declined"


def test_a_void_before_its_authorization_keeps_it_from_ever_being_asked(authorization, gateway, bookkeeping):
    authorization.undo()
    authorization.deliver()

    assert gateway.effects == 0
    assert authorization.state == "voided"
    assert set(bookkeeping("billing").types_outgoing(authorization.order_id)) == {"billing.payment_voided.v1"}


def test_a_void_that_meets_a_running_call_comes_back_later(authorization, gateway, bookkeeping):
    gateway.before_answer.append(authorization.undo)

    authorization.deliver()

    assert authorization.state == "authorized"
    void, _ = bookkeeping("billing").outgoing(authorization.order_id)
    assert (void.type, void.routing_key) == (VoidPayment.wire_type, "billing")
    assert void.available_at > utc_now()
    consume("billing", Delivery(headers=void.headers, payload=void.body, exchange="", routing_key="billing"))
    assert authorization.state == "voided"


def test_a_void_that_meets_a_dead_call_asks_the_gateway_and_shuts_the_call_out(
    authorization, gateway, bookkeeping
):
    crash_in_the_call(authorization, gateway)
    authorization.let_lease_end()

    authorization.undo()
    authorization.deliver(is_redelivered=True)

    assert len(gateway.calls) == 2, "one authorization, one void"
    assert authorization.state == "voided"
    assert bookkeeping("billing").key(authorization.key).state == "finished"


def test_a_conclusion_that_fails_frees_the_call_for_the_next_attempt(
    authorization, gateway, bookkeeping, monkeypatch
):
    def fail(*_: object) -> None:
        raise ValueError("cannot be stored")

    with monkeypatch.context() as patch:
        patch.setattr(handlers.services, "record_authorization", fail)
        authorization.deliver()

    books = bookkeeping("billing")
    (failure,) = books.failures(authorization.envelope.message_id)
    assert failure.exception == "ValueError: cannot be stored"
    assert books.key(authorization.key).lease_until <= utc_now()
    (retry,) = books.outgoing(authorization.order_id)
    consume(
        "billing", Delivery(headers=retry.headers, payload=retry.body, exchange="", routing_key="billing")
    )
    assert authorization.state == "authorized"
    assert gateway.effects == 1


def test_a_cut_database_connection_is_waited_for_and_is_no_attempt(authorization, gateway, bookkeeping):
    """The server ends the session while the gateway is asked: the call is made again when its lease has ended."""

    def cut() -> None:
        with connections[BILLING].cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            (pid,) = cursor.fetchone()
        other = connections[BILLING].copy()
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
        other.close()

    gateway.before_answer.append(cut)
    authorization.deliver()

    assert bookkeeping("billing").failures(authorization.envelope.message_id) == []
    (later,) = bookkeeping("billing").outgoing(authorization.order_id)
    authorization.let_lease_end()
    consume(
        "billing", Delivery(headers=later.headers, payload=later.body, exchange="", routing_key="billing")
    )
    assert authorization.state == "authorized"
    assert gateway.effects == 1
