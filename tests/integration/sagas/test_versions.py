"""A running saga finishes on its own version, and a release that could not carry it on is found out before."""

from io import StringIO

import msgspec
import pytest
from django.core.management import call_command

from contracts.sagas import CheckDeadlines
from sagas import registry, upgrading
from sagas.batch import Incoming, handle_batch
from sagas.checkout import CHECKOUT
from sagas.definition import Saga
from sagas.errors import MissingDefinition
from sagas.models import MessageRecord, SagaRecord, StepRecord
from sagas.shapes import SHAPES
from sagas.version_checks import check_running, shape_problems
from tests.builders import an_envelope
from tests.integration.sagas.checkout import Checkout

pytestmark = pytest.mark.usefixtures("committed")


def changed(version: int, **of_ship: object) -> Saga:
    """The checkout with another step `ship`."""
    steps = tuple(
        msgspec.structs.replace(step, **of_ship) if step.name == "ship" else step for step in CHECKOUT.steps
    )
    return Saga("checkout", version, CHECKOUT.starts, "order_id", steps)


@pytest.fixture
def release(monkeypatch):
    """Another release: these definitions instead of the shop's own."""

    def these(*definitions: Saga) -> None:
        known = {(saga.name, saga.version): saga for saga in definitions}
        monkeypatch.setattr(registry, "DEFINITIONS", known)
        monkeypatch.setattr(upgrading, "DEFINITIONS", known)
        monkeypatch.setattr(registry, "_NEWEST", (max(definitions, key=lambda saga: saga.version),))

    return these


def problems(checkout: Checkout) -> list[str]:
    found = upgrading.check(upgrading.Checked())
    return [finding.problem for finding in found if finding.saga_id == checkout.id]


def test_a_running_saga_finishes_on_its_version_while_new_ones_begin_on_the_next(checkout, release):
    handle_batch([checkout.start()])
    without_capture = CHECKOUT.steps[:4]
    release(CHECKOUT, Saga("checkout", 3, CHECKOUT.starts, "order_id", without_capture))
    other = Checkout()

    handle_batch([other.start()])
    for name in ("reserve", "authorize", "ship"):
        replies = {"reserve": "reserved", "authorize": "authorized", "ship": "booked"}
        for each in (checkout, other):
            handle_batch([each.reply(name, getattr(each.replies, replies[name]))])

    versions = SagaRecord.objects.filter(id__in=[checkout.id, other.id]).values_list("version", "current")
    assert set(versions) == {(2, "capture"), (3, "")}
    assert (checkout.status, other.status) == ("running", "completed")


def test_a_saga_of_a_version_that_is_missing_is_not_touched(checkout, release):
    handle_batch([checkout.start()])
    release(changed(3))

    with pytest.raises(MissingDefinition, match=r"which settings\.SAGAS does not have"):
        handle_batch([checkout.reply("reserve", checkout.replies.reserved)])
    assert checkout.step("reserve").status == "sent"


def test_a_definition_that_changes_under_its_version_is_an_error():
    assert list(shape_problems([CHECKOUT], SHAPES)) == []
    patient = changed(2, deadline=600.0, repeats=3)
    assert list(shape_problems([patient], SHAPES)) == [], (
        "how long something may take is no part of the shape"
    )

    (problem,) = shape_problems([changed(2, refused=None)], SHAPES)
    assert (problem.id, "version=3" in problem.hint) == ("sagas.E201", True)
    (problem,) = shape_problems([changed(3)], SHAPES)
    assert (problem.id, "shapes --write" in problem.hint) == ("sagas.E202", True)


def test_a_version_that_running_sagas_need_is_missed_by_the_check_of_the_database(checkout, monkeypatch):
    handle_batch([checkout.start()])
    monkeypatch.setattr("sagas.version_checks.DEFINITIONS", {("checkout", 3): changed(3)})

    assert "sagas.E203" in [problem.id for problem in check_running(None, databases=["default"])]
    assert check_running(None, databases=None) == []


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
