"""A question while something fails or comes between: it is answered in the end, and what happened is stored once."""

import pytest
from django.db import connections

from billing import services
from eventstore.errors import ConcurrentAppend
from messaging.envelope import utc_now
from messaging.errors import PermanentError
from messaging.metrics import Outcome
from messaging.models import OutboxMessage
from messaging.settlement import Rejected
from tests.at_once import at_once
from tests.integration.gateway_double import Killed, killed
from tests.integration.messaging.asked import BILLING, Step
from tests.integration.messaging.breakers import MOST, no_answer

pytestmark = pytest.mark.usefixtures("committed")


def test_no_transaction_is_open_while_the_gateway_is_asked(step, gateway):
    step.die_in_the_call(gateway)
    seen = []
    gateway.before_found.append(
        lambda: seen.append((connections[BILLING].in_atomic_block, step.kept.state, step.kept.fence))
    )

    step.ask()

    assert seen == [(False, "started", 2)], "the call is taken over, so that nobody else asks or makes it"
    assert (step.kept.state, step.kept.fence) == ("finished", 2)


def test_a_process_that_dies_while_it_asks_leaves_the_question_to_the_next(step, gateway):
    step.die_in_the_call(gateway)
    gateway.before_found.append(killed)
    with pytest.raises(Killed):
        step.ask()

    assert step.ask(number=1) is Outcome.PUT_BACK, "as long as the lease runs"
    step.end_lease()
    step.relay()

    assert (step.said(), step.state, step.burnt) == (["payment_authorized"], "authorized", [])
    assert (gateway.effects, len(step.events())) == (1, 1)


def test_a_gateway_that_does_not_answer_is_asked_again_later(step, gateway):
    step.die_in_the_call(gateway)
    gateway.before_found.append(no_answer)

    assert step.ask() is Outcome.FAILED
    assert step.kept.lease_until <= utc_now(), "the command, too, may be made again at once"
    step.relay()

    assert step.burnt == ["TransientError: no answer"]
    assert (step.said(), step.state) == (["payment_authorized"], "authorized")


def test_a_look_up_that_the_gateway_refuses_is_a_dead_letter(step, gateway):
    def refuse() -> None:
        raise PermanentError("another operation under this key")

    step.die_in_the_call(gateway)
    gateway.before_found.append(refuse)

    with pytest.raises(Rejected, match="another operation"):
        step.ask()

    assert (step.kept.state, step.said()) == ("started", [])
    assert step.authorize() is Outcome.HANDLED, "nothing keeps the command from coming again"


def test_a_question_waits_behind_the_circuit_breaker_and_closes_it_as_the_probe(circuit, step, gateway):
    step.die_in_the_call(gateway)
    gateway.before_found += [no_answer] * MOST
    for number in range(MOST):
        assert step.ask(number=number + 1) is Outcome.FAILED
    assert circuit.is_open
    OutboxMessage.objects.using(BILLING).filter(headers__saga_id=str(step.saga_id)).delete()

    assert step.ask(number=1) is Outcome.PUT_BACK
    (waiting,) = OutboxMessage.objects.using(BILLING).filter(headers__saga_id=str(step.saga_id))
    assert (waiting.waits_for, len(gateway.asked)) == (circuit.gateway, MOST)
    circuit.let_probe_time_come()
    step.relay()

    assert (step.said(), circuit.is_open) == (["payment_authorized"], False)
    assert len(step.burnt) == MOST, "waiting is no failed attempt"


def test_what_the_service_knows_is_answered_while_the_gateway_is_left_alone(circuit, gateway):
    unknown, known = Step(), Step()
    known.authorize()
    gateway.before_answer += [no_answer] * MOST
    for _ in range(MOST):
        Step().authorize()
    assert circuit.is_open

    assert (unknown.ask(), known.ask()) == (Outcome.HANDLED, Outcome.HANDLED)

    assert known.said() == ["payment_authorized"] * 2
    assert unknown.said() == ["authorization_not_found"]
    assert gateway.asked == []


def test_an_answer_that_collides_while_it_is_stored_is_stored_at_once(step, gateway, monkeypatch):
    record = services.record_authorization
    collisions = iter([ConcurrentAppend(stream="payment", expected_version=0)])

    def collide_once(*args, **kwargs):
        for collision in collisions:
            raise collision
        return record(*args, **kwargs)

    step.die_in_the_call(gateway)
    monkeypatch.setattr(services, "record_authorization", collide_once)

    assert step.ask() is Outcome.HANDLED

    assert (step.state, step.burnt, gateway.asked) == ("authorized", [], [step.key])


def test_what_cannot_be_stored_is_no_failure_of_the_gateway(circuit, step, gateway, monkeypatch):
    def fail(*_: object) -> None:
        raise ValueError("cannot be stored")

    step.die_in_the_call(gateway)
    with monkeypatch.context() as patch:
        patch.setattr(services, "record_authorization", fail)
        assert step.ask() is Outcome.FAILED

    assert (step.burnt, circuit.row) == (["ValueError: cannot be stored"], None)
    step.relay()
    assert step.state == "authorized"


def test_a_database_that_is_cut_off_while_the_gateway_is_asked_is_no_attempt(step, gateway):
    def cut() -> None:
        with connections[BILLING].cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            (pid,) = cursor.fetchone()
        other = connections[BILLING].copy()
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
        other.close()

    step.die_in_the_call(gateway)
    gateway.before_found.append(cut)

    assert step.ask() is Outcome.PUT_BACK
    step.end_lease()
    step.relay()

    assert (step.burnt, step.said(), step.state) == ([], ["payment_authorized"], "authorized")


def test_a_question_that_the_command_overtakes_is_answered_with_what_the_command_did(step, gateway):
    """Whoever asks is so slow that its lease ends, and the command comes again meanwhile."""

    def overtaken() -> None:
        step.end_lease()
        assert step.authorize() is Outcome.HANDLED

    step.die_in_the_call(gateway)
    gateway.before_found.append(overtaken)

    assert step.ask() is Outcome.PUT_BACK
    assert step.relay() is Outcome.HANDLED

    assert step.said() == ["payment_authorized"] * 2
    assert (gateway.effects, len(step.events()), step.burnt) == (1, 1, [])


def test_a_question_that_the_undoing_overtakes_stores_nothing_that_is_undone(step, gateway):
    def overtaken() -> None:
        step.end_lease()
        step.void()

    step.die_in_the_call(gateway)
    gateway.before_found.append(overtaken)

    assert step.ask() is Outcome.PUT_BACK
    step.relay()

    assert step.said() == ["payment_voided"] * 2
    assert step.events() == ["billing.payment_voided.v1"]


def test_another_question_while_one_is_asked_comes_back_later(step, gateway):
    step.die_in_the_call(gateway)
    gateway.before_found.append(step.ask)

    step.ask()
    step.relay()

    assert step.said() == ["payment_authorized"] * 2
    assert (len(gateway.asked), len(step.events())) == (1, 1)


@pytest.mark.parametrize("turn", range(5))
def test_questions_and_late_deliveries_at_once_have_one_effect_and_one_event(step, gateway, turn):
    step.die_in_the_call(gateway)

    at_once(
        step.authorize,
        lambda: step.ask(number=1),
        lambda: step.ask(number=1),
        lambda: step.ask(number=2),
        step.authorize,
    )

    assert gateway.effects == 1
    assert step.events() == ["billing.payment_authorized.v1"]
    assert set(step.said()) <= {"payment_authorized", "find_authorization", "authorize_payment"}
    assert (step.state, step.burnt, step.kept.state) == ("authorized", [], "finished")


@pytest.mark.parametrize("turn", range(5))
def test_a_first_delivery_and_a_question_at_once_have_one_effect(step, gateway, turn):
    """The question may come first: then nothing had happened, and the command is carried out all the same."""
    at_once(step.authorize, step.ask)

    assert gateway.effects == 1
    assert step.events() == ["billing.payment_authorized.v1"]
    answers = sorted(said for said in step.said() if said != "find_authorization")
    assert answers in (
        ["payment_authorized"],
        ["payment_authorized"] * 2,
        ["authorization_not_found", "payment_authorized"],
    )


@pytest.mark.parametrize("turn", range(5))
def test_a_question_and_the_undoing_at_once_leave_nothing_held(step, gateway, turn):
    step.die_in_the_call(gateway)

    at_once(step.ask, step.void)
    while (
        OutboxMessage.objects.using(BILLING).filter(headers__saga_id=str(step.saga_id), exchange="").exists()
    ):
        if step.kept.state == "started":
            step.end_lease()
        step.relay()

    assert step.state == "voided"
    assert step.events()[-1] == "billing.payment_voided.v1"
    assert len(step.events()) == len(set(step.events()))
