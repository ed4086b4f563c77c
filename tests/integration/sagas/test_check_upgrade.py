"""Before a deploy: would this release carry on the sagas that are running? Each kind of difference is told."""

import json
from collections.abc import Iterator
from io import StringIO

import msgspec
import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from contracts.sagas import CheckDeadlines, NoteDeadLetter
from contracts.shipping import BookShipment
from deadletters.desk import Operator
from messaging.envelope import new_message_id
from sagas import records, steering, switching, upgrading
from sagas.batch import Incoming, handle_batch
from sagas.checkout import CHECKOUT
from sagas.definition import Saga
from sagas.incoming import CancelSaga, PauseSaga, ResumeSaga, RetryStep
from sagas.models import MessageRecord, PauseSwitch, SagaRecord, StepRecord
from sagas.switches import SwitchKind
from tests.at_once import at_once
from tests.builders import an_envelope
from tests.integration.sagas.checkout import Checkout, changed

pytestmark = pytest.mark.usefixtures("committed")

ANNA = Operator(name="anna", may=lambda permission: True)
BOOKING = "shipping.book_shipment.v1"


def problems(checkout: Checkout) -> list[str]:
    found = upgrading.check(upgrading.Checked())
    return [finding.problem for finding in found if finding.saga_id == checkout.id]


def act(checkout: Checkout, action) -> None:
    told = {"operator": ANNA, "at": timezone.now(), "reason": "a test", "evidence": "none"}
    assert steering.steer(action, [checkout.id], **told).refused == {}


def look_again(checkout: Checkout) -> None:
    look = CheckDeadlines(saga_id=checkout.id)
    handle_batch([Incoming(an_envelope(look), look)])


def up_to_the_booking(*checkouts: Checkout) -> None:
    handle_batch([each.start() for each in checkouts])
    handle_batch([each.reply("reserve", each.replies.reserved) for each in checkouts])
    handle_batch([each.reply("authorize", each.replies.authorized) for each in checkouts])


@pytest.fixture
def bookings_held_back() -> Iterator[PauseSwitch]:
    switch = switching.set_switch(SwitchKind.TYPE, BOOKING, operator=ANNA, reason="a test", at=timezone.now())
    yield switch
    PauseSwitch.objects.filter(id=switch.id, lifted_at=None).update(
        lifted_at=timezone.now(), lifted_by="the test"
    )


def test_this_release_carries_on_whatever_a_saga_has_gone_through(checkout):
    turned, overdue = Checkout(), Checkout()
    handle_batch([checkout.start(), turned.start(), overdue.start()])
    handle_batch([checkout.reply("reserve", checkout.replies.reserved)])
    handle_batch([turned.reply("reserve", turned.replies.unavailable)])
    StepRecord.objects.filter(saga_id=overdue.id, name="reserve").update(deadline_at="2026-01-01T00:00Z")
    look = CheckDeadlines(saga_id=overdue.id)
    handle_batch([Incoming(an_envelope(look), look)])

    assert overdue.step("reserve").status == "undoing"
    assert [problems(each) for each in (checkout, turned, overdue)] == [[], [], []]
    assert MessageRecord.objects.get(saga_id=overdue.id, direction="time").body == {"steps": ["reserve"]}


def test_each_kind_of_difference_is_told(checkout, release):
    handle_batch([checkout.start()])
    handle_batch([checkout.reply("reserve", checkout.replies.reserved)])

    release(changed(3))
    assert problems(checkout) == ["this release does not have its version"]

    release(Saga("checkout", 2, CHECKOUT.starts, "order_id", CHECKOUT.steps[:4]))
    assert "its steps are place, reserve, authorize, ship, capture, confirm" in problems(checkout)[0]

    place, reserve, authorize, ship, *rest = CHECKOUT.steps
    beside = msgspec.structs.replace(authorize, after=("place",))
    joined = msgspec.structs.replace(ship, after=("reserve", "authorize"))
    release(Saga("checkout", 2, CHECKOUT.starts, "order_id", (place, reserve, beside, joined, *rest)))
    assert problems(checkout) == [], "it would have sent the same, if in another order"

    StepRecord.objects.filter(saga_id=checkout.id, name="reserve").update(status="refused")
    release(CHECKOUT)
    assert problems(checkout) == ["step reserve is refused, and this release would have it done"]

    MessageRecord.objects.filter(saga_id=checkout.id, type="billing.authorize_payment.v1").update(body={})
    found = problems(checkout)
    assert any("it has sent billing.authorize_payment.v1" in problem for problem in found)
    assert any("would have sent billing.authorize_payment.v1" in problem for problem in found)

    data = SagaRecord.objects.get(id=checkout.id).data
    del data[""]["ship_to"]
    SagaRecord.objects.filter(id=checkout.id).update(data=data)
    assert any("BookShipment of step ship cannot be made" in problem for problem in problems(checkout))


def test_the_command_ends_with_1_where_there_is_a_difference(checkout, release):
    handle_batch([checkout.start()])
    release(changed(3))
    out = StringIO()

    with pytest.raises(SystemExit) as ended:
        call_command("sagas", "check-upgrade", stdout=out)

    assert ended.value.code == 1
    assert f"checkout v2 {checkout.id}: this release does not have its version" in out.getvalue()


def test_what_people_did_and_dead_letters_are_decided_again_too():
    paused, retried, cancelled, dead = (Checkout() for _ in range(4))
    up_to_the_booking(paused, retried, cancelled, dead)
    act(paused, PauseSaga())
    handle_batch([paused.reply("ship", paused.replies.booked)])
    act(paused, ResumeSaga())
    act(retried, RetryStep("ship"))
    act(cancelled, CancelSaga())
    note = NoteDeadLetter(
        saga_id=dead.id,
        letter_id=new_message_id(),
        step="ship",
        step_try=1,
        is_compensation=False,
        problem="it broke",
    )
    handle_batch([Incoming(an_envelope(note), note)])

    assert paused.step("capture").status == "sent"
    assert (cancelled.status, dead.step("ship").status) == ("compensating", "held")
    assert [problems(each) for each in (paused, retried, cancelled, dead)] == [[], [], [], []]


def test_switches_are_those_of_their_time(bookings_held_back):
    withheld, cancelled, going_on = Checkout(), Checkout(), Checkout()
    up_to_the_booking(withheld, cancelled, going_on)
    act(cancelled, CancelSaga())
    assert [problems(each) for each in (withheld, cancelled, going_on)] == [[], [], []]
    assert SagaRecord.objects.get(id=withheld.id).is_withheld
    assert cancelled.step("authorize").status == "undoing", (
        "nothing was booked that would have to be undone first"
    )

    switching.lift_switch(bookings_held_back.id, operator=ANNA, at=timezone.now())
    for each in (withheld, cancelled, going_on):
        look_again(each)
    handle_batch([going_on.reply("ship", going_on.replies.booked)])

    assert (withheld.step("ship").status, going_on.step("capture").status) == ("sent", "sent")
    assert [problems(each) for each in (withheld, cancelled, going_on)] == [[], [], []]


def test_a_fork_is_checked_for_what_it_may_still_send(checkout, release):
    handle_batch([checkout.start()])
    fork_id, _ = steering.run_again(checkout.id, "reserve", operator=ANNA, at=timezone.now(), reason="a test")
    fork = Checkout()
    fork.id = fork_id
    assert problems(fork) == []

    release(changed(2, build=_refuses_london, deadline=1.0))
    assert problems(fork) == [], "what it is made of is not all said yet"
    StepRecord.objects.filter(saga_id=fork_id, name="reserve").update(status="done", deadline_at=None)
    data = SagaRecord.objects.get(id=fork_id).data
    said = {"reserve": fork.replies.reserved.to_payload(), "authorize": fork.replies.authorized.to_payload()}
    SagaRecord.objects.filter(id=fork_id).update(data={**data, **said})
    (problem,) = problems(fork)
    assert "BookShipment of step ship cannot be made" in problem


def _refuses_london(facts) -> BookShipment:
    raise LookupError(f"no parcels to {facts[CHECKOUT.starts].ship_to.city}")


def test_nothing_of_the_customer_is_told(checkout, release):
    up_to_the_booking(checkout)
    city = checkout.placed.ship_to.city
    release(changed(2, build=_refuses_london))

    found = problems(checkout)

    assert any("LookupError in _refuses_london (test_check_upgrade.py" in problem for problem in found)
    assert not any(city in problem for problem in found)
    country = SagaRecord.objects.get(id=checkout.id).data
    country[""]["ship_to"]["country"] = city
    SagaRecord.objects.filter(id=checkout.id).update(data=country)
    release(CHECKOUT)
    found = problems(checkout)
    assert any("BookShipment of step ship cannot be made of what it was told: Expected" in p for p in found)
    assert not any(city in problem for problem in found)


def test_a_history_that_means_nothing_to_this_release_is_told(checkout):
    handle_batch([checkout.start()])
    handle_batch([checkout.reply("reserve", checkout.replies.reserved)])
    received = MessageRecord.objects.filter(saga_id=checkout.id, direction="received", step="reserve")

    received.update(type="inventory.stock_put_aside.v1")
    assert problems(checkout) == [
        "it received inventory.stock_put_aside.v1, which this release does not have in contracts/"
    ]
    received.update(type="inventory.stock_reserved.v1", body={"order_id": str(checkout.order_id)})
    (problem,) = problems(checkout)
    assert "inventory.stock_reserved.v1 that it received cannot be read any more" in problem
    received.update(direction="person", type="bewitch")
    assert problems(checkout) == ["a person did 'bewitch' to it, which this release does not know"]


def test_a_saga_of_before_times_were_noted_is_checked_for_what_it_may_still_send_alone(checkout):
    handle_batch([checkout.start()])
    MessageRecord.objects.filter(saga_id=checkout.id).update(noted_at=None)
    StepRecord.objects.filter(saga_id=checkout.id, name="reserve").update(status="refused", deadline_at=None)

    assert problems(checkout) == []


def test_a_saga_that_moves_meanwhile_is_seen_as_it_was_at_one_moment(checkout, monkeypatch):
    handle_batch([checkout.start()])
    look, moved = records.look, []

    def look_and_be_overtaken(*given, **named):
        seen = look(*given, **named)
        if not moved and checkout.id in seen.sagas:
            moved.append(
                at_once(lambda: handle_batch([checkout.reply("reserve", checkout.replies.reserved)]))
            )
        return seen

    monkeypatch.setattr(records, "look", look_and_be_overtaken)

    assert problems(checkout) == []
    assert moved
    assert checkout.step("authorize").status == "sent"


def test_it_only_reads_and_needs_few_statements(checkout):
    others = [Checkout() for _ in range(5)]
    handle_batch([each.start() for each in (checkout, *others)])
    checked = upgrading.Checked()

    with CaptureQueriesContext(connection) as one_chunk:
        list(upgrading.check(checked))
    chunks = -(-checked.sagas // upgrading.CHUNK)

    own = [query["sql"] for query in one_chunk if "TRANSACTION" not in query["sql"].split(" ")[:2]]
    selects = [sql for sql in own if sql.lstrip().startswith("SELECT")]
    assert len(selects) <= 5 * chunks + 1
    assert not [sql for sql in own if sql.lstrip().startswith(("INSERT", "UPDATE", "DELETE"))]


def test_the_command_tells_each_difference_as_json(checkout, release):
    handle_batch([checkout.start()])
    release(changed(3))
    out, err = StringIO(), StringIO()

    with pytest.raises(SystemExit):
        call_command("sagas", "check-upgrade", "--json", stdout=out, stderr=err)

    told = [json.loads(line) for line in out.getvalue().splitlines()]
    assert {"saga_id": str(checkout.id), "name": "checkout", "version": 2} in [
        {key: value for key, value in line.items() if key != "problem"} for line in told
    ]
    assert "running sagas looked at" in err.getvalue()
