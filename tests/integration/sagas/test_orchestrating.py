"""The orchestrator: batches in one transaction, and a bad message that fails alone."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import IntegrityError, connections, transaction

from contracts.sagas import CheckDeadlines
from contracts.shipping import ShipmentLeft
from messaging.envelope import utc_now
from messaging.models import FailedAttempt, OutboxMessage
from sagas import orchestrator, upgrading
from sagas.batch import Incoming, handle_batch
from sagas.checkout import CHECKOUT
from sagas.definition import Saga, Wait
from sagas.errors import UnknownSaga
from sagas.models import MessageRecord, SagaRecord, StepRecord
from tests.builders import an_envelope
from tests.integration.sagas.checkout import Checkout

pytestmark = pytest.mark.usefixtures("committed")


def test_a_start_makes_a_saga_its_first_command_and_its_deadline(checkout):
    handle_batch([checkout.start()])

    assert checkout.status == "running"
    assert checkout.sent() == ["reserve_stock"]
    command = OutboxMessage.objects.using("default").get(
        headers__saga_id=str(checkout.id), type="inventory.reserve_stock.v1"
    )
    assert command.headers["idempotency_key"] == f"{checkout.id}:reserve:1:action"
    assert command.headers["correlation_id"] == str(checkout.order_id)
    assert checkout.deadline.available_at == checkout.step("reserve").deadline_at


def test_a_repeated_start_makes_no_second_saga(checkout):
    again = Incoming(an_envelope(checkout.placed), checkout.placed)

    handle_batch([checkout.start(), again])
    handle_batch([again, Incoming(an_envelope(checkout.placed), checkout.placed)])

    assert SagaRecord.objects.filter(business_key=str(checkout.order_id)).count() == 1
    assert checkout.sent() == ["reserve_stock"]


def test_a_saga_is_unique_for_ever_by_the_database(checkout):
    handle_batch([checkout.start()])
    record = SagaRecord.objects.get(id=checkout.id)
    record.id = uuid4()

    with pytest.raises(IntegrityError, match="one_saga_per_business_key"), transaction.atomic():
        record.save(force_insert=True)


def test_messages_of_one_saga_in_one_batch_are_decided_in_the_order_of_arrival(checkout):
    r = checkout.replies
    handle_batch(
        [
            checkout.start(),
            checkout.reply("reserve", r.reserved),
            checkout.reply("authorize", r.authorized),
            checkout.reply("ship", r.booked),
            checkout.reply("capture", r.captured),
            checkout.reply("confirm", r.confirmed),
        ]
    )

    assert checkout.status == "completed"
    assert checkout.sent() == [
        "reserve_stock",
        "authorize_payment",
        "book_shipment",
        "capture_payment",
        "confirm_order",
    ]
    assert checkout.deadline is None


def test_news_that_a_saga_waits_for_counts_also_where_its_own_command_brought_it_about(checkout, release):
    place, reserve, authorize, ship, *rest = CHECKOUT.steps
    left = Wait("left", done=ShipmentLeft, deadline=600)
    release(Saga("checkout", 1, CHECKOUT.starts, "order_id", (place, reserve, authorize, ship, left, *rest)))
    handle_batch([checkout.start()])
    for step, reply in (("reserve", "reserved"), ("authorize", "authorized"), ("ship", "booked")):
        handle_batch([checkout.reply(step, getattr(checkout.replies, reply))])
    assert checkout.step("left").status == "waiting"

    handle_batch([checkout.reply("ship", checkout.replies.left)])

    assert (checkout.step("left").status, checkout.step("capture").status) == ("done", "sent")
    told = upgrading.check(upgrading.Checked())
    assert [finding.problem for finding in told if finding.saga_id == checkout.id] == []
    StepRecord.objects.filter(saga_id=checkout.id).update(deadline_at=None, status="done")
    SagaRecord.objects.filter(id=checkout.id).update(
        status="completed", current="", look_at=None, finished_at=utc_now()
    )


def test_a_message_that_came_before_moves_nothing(checkout):
    handle_batch([checkout.start()])
    reserved = checkout.reply("reserve", checkout.replies.reserved)

    again = Incoming(reserved.envelope, reserved.message)

    handle_batch([reserved, again])
    handle_batch([again])

    assert checkout.sent() == ["reserve_stock", "authorize_payment"]
    assert MessageRecord.objects.filter(saga_id=checkout.id, direction="received").count() == 2


def test_the_deadline_has_one_row_that_moves_with_the_saga(checkout):
    handle_batch([checkout.start()])
    first = checkout.deadline.available_at

    handle_batch([checkout.reply("reserve", checkout.replies.reserved)])

    assert checkout.deadline.available_at == checkout.step("authorize").deadline_at > first


def miss_deadline(checkout: Checkout, step: str, **columns: object) -> None:
    """The step's deadline is over, and the saga looks at the clock."""
    StepRecord.objects.filter(saga_id=checkout.id, name=step).update(
        deadline_at=utc_now() - timedelta(seconds=1), **columns
    )
    check = CheckDeadlines(saga_id=checkout.id)
    handle_batch([Incoming(an_envelope(check), check)])


def test_an_overdue_payment_is_asked_about_before_it_is_given_up(checkout):
    handle_batch([checkout.start(), checkout.reply("reserve", checkout.replies.reserved)])

    miss_deadline(checkout, "authorize")

    assert (checkout.status, checkout.step("authorize").status) == ("running", "asking")
    question = OutboxMessage.objects.using("default").get(
        headers__saga_id=str(checkout.id), type="billing.find_authorization.v1"
    )
    assert question.headers["idempotency_key"] == f"{checkout.id}:authorize:1:question:1"
    handle_batch([checkout.reply("authorize", checkout.replies.authorized)])
    assert checkout.sent()[-1] == "book_shipment"


def test_a_missed_deadline_turns_the_saga_round(checkout):
    handle_batch([checkout.start(), checkout.reply("reserve", checkout.replies.reserved)])

    miss_deadline(checkout, "authorize", questions=3)

    assert checkout.status == "compensating"
    assert checkout.step("authorize").status == "undoing"
    assert checkout.sent()[-1] == "void_payment"
    void = OutboxMessage.objects.using("default").get(
        headers__saga_id=str(checkout.id), type="billing.void_payment.v1"
    )
    assert void.headers["idempotency_key"] == f"{checkout.id}:authorize:1:compensation"


def test_a_batch_with_a_bad_member_does_nothing_at_all(checkout):
    stray = Checkout()

    with pytest.raises(UnknownSaga, match=str(stray.id)):
        handle_batch([checkout.start(), stray.reply("reserve", stray.replies.reserved)])

    assert not SagaRecord.objects.filter(id=checkout.id).exists()


def test_a_bad_message_fails_alone(start_orchestrator, publish, broker, eventually):
    """Among good ones: a reply for no saga, a body that is no JSON, and one that is no message."""
    good, stray, unreadable, shapeless = (Checkout() for _ in range(4))
    more = [Checkout() for _ in range(20)]
    envelope = stray.envelope("reserve", stray.replies.reserved)
    for checkout in more[:10]:
        publish(checkout.placed)
    publish(good.placed)
    publish(stray.replies.reserved, envelope)
    publish(unreadable.placed, body="{ this is no JSON")
    publish(shapeless.placed, body='[[{"order_id": 1}], {}, {}]')
    for checkout in more[10:]:
        publish(checkout.placed)

    start_orchestrator()

    good_ids = [checkout.id for checkout in (good, *more)]
    eventually(lambda: SagaRecord.objects.filter(id__in=good_ids).count() == len(good_ids))

    def dead() -> bool:
        return broker.default_channel.queue_declare("sagas.dead", passive=True).message_count == 3

    eventually(dead)
    (failure,) = FailedAttempt.objects.using("default").filter(message_id=envelope.message_id)
    assert failure.exception.startswith("UnknownSaga")
    assert failure.next_attempt_at is None
    bad_ids = [checkout.id for checkout in (stray, unreadable, shapeless)]
    assert not SagaRecord.objects.filter(id__in=bad_ids).exists()


def test_several_orchestrators_share_the_work(start_orchestrator, publish, eventually):
    """Replies come shuffled over three consumers; no saga is moved twice and none is forgotten."""
    checkouts = [Checkout() for _ in range(40)]
    for _ in range(3):
        start_orchestrator(batch_size=10)
    for checkout in checkouts:
        publish(checkout.placed)

    ids = [checkout.id for checkout in checkouts]
    eventually(lambda: SagaRecord.objects.filter(id__in=ids).count() == len(ids))
    for checkout in checkouts:
        envelope = checkout.envelope("reserve", checkout.replies.reserved)
        publish(checkout.replies.reserved, envelope)
        publish(checkout.replies.reserved, envelope)

    def all_authorize() -> bool:
        sent = MessageRecord.objects.filter(
            saga_id__in=ids, direction="sent", type="billing.authorize_payment.v1"
        )
        return sent.count() == len(ids)

    eventually(all_authorize)
    assert {tuple(checkout.sent()) for checkout in checkouts} == {("reserve_stock", "authorize_payment")}


def test_a_failing_transaction_is_an_attempt_and_is_repeated_through_the_outbox(
    start_orchestrator, publish, eventually, checkout, monkeypatch
):
    def fail(batch: object) -> None:
        raise ZeroDivisionError("the orchestrator has a bad day")

    monkeypatch.setattr(orchestrator, "handle_batch", fail)
    envelope = an_envelope(checkout.placed)
    publish(checkout.placed, envelope)
    start_orchestrator()

    def retry() -> OutboxMessage | None:
        rows = OutboxMessage.objects.using(settings.SERVICES["sagas"]).filter(message_id=envelope.message_id)
        return rows.first()

    row = eventually(retry)
    assert (row.exchange, row.routing_key) == ("", "sagas")
    assert row.headers["attempt"] == 2
    assert not SagaRecord.objects.filter(id=checkout.id).exists()


def test_a_cut_database_session_is_no_attempt(start_orchestrator, publish, eventually):
    first, second = Checkout(), Checkout()
    start_orchestrator()
    publish(first.placed)
    eventually(lambda: SagaRecord.objects.filter(id=first.id).exists())
    with connections["default"].cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert cursor.rowcount >= 1

    envelope = an_envelope(second.placed)
    publish(second.placed, envelope)

    eventually(lambda: SagaRecord.objects.filter(id=second.id).exists())
    assert not FailedAttempt.objects.using("default").filter(message_id=envelope.message_id).exists()
