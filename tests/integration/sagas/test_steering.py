"""What people do to sagas: permitted or refused, carried out and written down in one transaction."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from deadletters.desk import Operator
from deadletters.models import DeskEntry
from messaging.models import OutboxMessage
from sagas import steering, switching
from sagas.batch import handle_batch
from sagas.errors import ActionRefused, NotPermitted, WrongRequest
from sagas.incoming import CancelSaga, MarkUndone, PauseSaga, ResumeSaga, RetryStep, SkipStep
from sagas.models import MessageRecord, PauseSwitch, SagaRecord, StepRecord
from sagas.registry import saga_id
from sagas.switches import SwitchKind
from tests.integration.sagas.checkout import Checkout

pytestmark = pytest.mark.usefixtures("committed")

ANNA = Operator(name="anna", may=lambda permission: True)
NOBODY = Operator(name="nobody", may=lambda permission: False)


def act(checkout: Checkout, action, operator: Operator = ANNA, **more: str) -> steering.Steered:
    return steering.steer(action, [checkout.id], operator=operator, at=timezone.now(), **more)


def deadlines(checkout: Checkout) -> int:
    return OutboxMessage.objects.filter(known_key=f"saga:{checkout.id}:deadline").count()


def entries(checkout: Checkout) -> list[tuple[str, str, str]]:
    return list(
        DeskEntry.objects.filter(saga_id=checkout.id).order_by("id").values_list("action", "outcome", "by")
    )


@pytest.fixture
def lifted() -> Iterator[Callable[[PauseSwitch], None]]:
    made: list[PauseSwitch] = []
    yield made.append
    for switch in made:
        PauseSwitch.objects.filter(id=switch.id, lifted_at__isnull=True).update(
            lifted_at=timezone.now(), lifted_by="the test"
        )


def test_a_paused_saga_takes_replies_in_and_sends_nothing_until_it_is_resumed(checkout):
    handle_batch([checkout.start()])

    act(checkout, PauseSaga())
    handle_batch([checkout.reply("reserve", checkout.replies.reserved)])

    assert checkout.step("reserve").status == "done"
    assert checkout.sent() == ["reserve_stock"]
    assert deadlines(checkout) == 0

    resumed = act(checkout, ResumeSaga())

    assert [type(s.command).__name__ for s in resumed.done[checkout.id]] == ["AuthorizePayment"]
    assert checkout.sent() == ["reserve_stock", "authorize_payment"]
    assert deadlines(checkout) == 1
    assert entries(checkout) == [("pause", "done", "anna"), ("resume", "done", "anna")]
    told = MessageRecord.objects.filter(saga_id=checkout.id, direction="person").order_by("id")
    assert list(told.values_list("type", "body")) == [("pause", {"by": "anna"}), ("resume", {"by": "anna"})]


def test_who_may_not_is_refused_and_written_down(checkout):
    handle_batch([checkout.start()])

    for action in (PauseSaga(), RetryStep("reserve"), SkipStep("reserve"), CancelSaga()):
        with pytest.raises(NotPermitted, match="nobody lacks the permission sagas"):
            act(checkout, action, NOBODY, reason="because")

    assert entries(checkout) == [(name, "refused", "nobody") for name in ("pause", "retry", "skip", "cancel")]
    assert checkout.step("reserve").status == "sent"


def test_a_retry_sends_the_command_again_under_its_key(checkout):
    handle_batch([checkout.start()])
    first = OutboxMessage.objects.get(headers__saga_id=str(checkout.id), type="inventory.reserve_stock.v1")

    forecast = steering.forecast(RetryStep("reserve"), [checkout.id], now=timezone.now())
    assert OutboxMessage.objects.filter(headers__saga_id=str(checkout.id)).count() == 1
    done = act(checkout, RetryStep("reserve"))

    assert done.done.keys() == forecast.done.keys() == {checkout.id}
    again = OutboxMessage.objects.filter(
        headers__saga_id=str(checkout.id), type="inventory.reserve_stock.v1"
    ).exclude(id=first.id)
    assert [row.headers["idempotency_key"] for row in again] == [first.headers["idempotency_key"]]
    assert checkout.step("reserve").sendings == 2


def test_cancelling_waits_for_what_is_out_and_undoes_the_rest(checkout):
    handle_batch([checkout.start()])
    handle_batch([checkout.reply("reserve", checkout.replies.reserved)])

    act(checkout, CancelSaga(), reason="the customer rang")
    assert checkout.status == "compensating"
    assert checkout.sent() == ["reserve_stock", "authorize_payment"]
    handle_batch([checkout.reply("authorize", checkout.replies.authorized)])

    assert checkout.sent()[2:] == ["void_payment"]


def test_what_cannot_be_is_told_and_written_down(checkout):
    handle_batch([checkout.start()])

    refused = act(checkout, MarkUndone("reserve"), reason="done", evidence="ticket 12").refused
    assert "only a step that is being undone" in refused[checkout.id]
    refused = act(checkout, SkipStep("nonsense"), reason="why not").refused
    assert "has no step 'nonsense'" in refused[checkout.id]
    with pytest.raises(WrongRequest, match="reason is missing"):
        act(checkout, SkipStep("reserve"))
    with pytest.raises(WrongRequest, match="evidence is missing"):
        act(checkout, MarkUndone("reserve"), reason="done")

    assert [outcome for _, outcome, _ in entries(checkout)] == ["refused", "refused"]


def test_a_stuck_compensation_is_mended_by_hand_and_the_saga_ends(checkout):
    handle_batch([checkout.start()])
    handle_batch([checkout.reply("reserve", checkout.replies.unavailable)])
    StepRecord.objects.filter(saga_id=checkout.id, name="place").update(status="stuck", deadline_at=None)

    act(checkout, MarkUndone("place"), reason="cancelled by phone", evidence="call 4711")

    assert (checkout.status, checkout.step("place").status) == ("cancelled", "mended")
    assert "evidence: call 4711" in DeskEntry.objects.get(saga_id=checkout.id).detail


def test_a_service_that_is_paused_is_sent_nothing_and_its_sagas_go_on_when_that_is_lifted(checkout, lifted):
    other = Checkout()
    switch = switching.set_switch(
        SwitchKind.SERVICE, "billing", operator=ANNA, reason="maintenance", at=timezone.now()
    )
    lifted(switch)
    handle_batch([checkout.start(), other.start()])
    handle_batch([checkout.reply("reserve", checkout.replies.reserved)])

    assert checkout.sent() == ["reserve_stock"]
    assert SagaRecord.objects.get(id=checkout.id).is_withheld
    assert not SagaRecord.objects.get(id=other.id).is_withheld

    with pytest.raises(WrongRequest, match="paused already"):
        switching.set_switch(SwitchKind.SERVICE, "billing", operator=ANNA, reason="again", at=timezone.now())
    assert switching.lift_switch(switch.id, operator=ANNA, at=timezone.now()) == 1
    look = OutboxMessage.objects.get(body={"saga_id": str(checkout.id)}, known_key=None)
    assert look.type == "sagas.check_deadlines.v1"
    with pytest.raises(WrongRequest, match="not paused any more"):
        switching.lift_switch(switch.id, operator=ANNA, at=timezone.now())


def test_a_switch_needs_a_name_that_there_is_and_lapses_by_itself(lifted):
    now = timezone.now()
    with pytest.raises(WrongRequest, match="No saga has the service 'bilging'"):
        switching.set_switch(SwitchKind.SERVICE, "bilging", operator=ANNA, reason="x", at=now)
    with pytest.raises(NotPermitted):
        switching.set_switch(SwitchKind.SERVICE, "billing", operator=NOBODY, reason="x", at=now)
    switch = switching.set_switch(
        SwitchKind.STEP,
        "checkout.ship",
        operator=ANNA,
        reason="strike",
        at=now,
        lapses_at=now + timedelta(hours=1),
    )
    lifted(switch)
    row = OutboxMessage.objects.get(known_key=f"pause-switch:{switch.id}:lapse")
    assert (row.type, row.available_at) == ("operations.lapse_pause_switch.v1", now + timedelta(hours=1))


def test_a_saga_is_run_again_with_the_keys_that_it_had(checkout):
    handle_batch([checkout.start()])
    handle_batch([checkout.reply("reserve", checkout.replies.reserved)])
    old = OutboxMessage.objects.get(
        headers__saga_id=str(checkout.id), type="billing.authorize_payment.v1"
    ).headers["idempotency_key"]
    with pytest.raises(ActionRefused, match="twice"):
        steering.run_again(checkout.id, "reserve", operator=ANNA, at=timezone.now(), reason="mended")

    fork_id, sent = steering.run_again(
        checkout.id, "authorize", operator=ANNA, at=timezone.now(), reason="mended"
    )

    assert fork_id == saga_id("checkout", str(checkout.order_id), generation=2)
    fork = SagaRecord.objects.get(id=fork_id)
    assert (fork.forked_from_id, fork.generation, fork.current) == (checkout.id, 2, "authorize")
    assert checkout.status == "cancelled"
    again = OutboxMessage.objects.get(headers__saga_id=str(fork_id), type="billing.authorize_payment.v1")
    assert again.headers["idempotency_key"] == old
    assert [type(sending.command).__name__ for sending in sent] == ["AuthorizePayment"]
    with pytest.raises(ActionRefused, match="run again already"):
        steering.run_again(checkout.id, "authorize", operator=ANNA, at=timezone.now(), reason="mended")
    assert [outcome for _, outcome, _ in entries(checkout)] == ["refused", "done", "refused"]
