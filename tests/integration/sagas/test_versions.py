"""A running saga finishes on its own version, and a release that could not carry it on is found out before."""

from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from sagas import shapes
from sagas.batch import handle_batch
from sagas.checkout import CHECKOUT
from sagas.definition import Saga
from sagas.errors import MissingDefinition
from sagas.models import SagaRecord
from sagas.refund import REFUND
from sagas.shapes import SHAPES
from sagas.terminal import telling
from sagas.version_checks import check_running, shape_problems
from tests.integration.sagas.checkout import Checkout, changed

pytestmark = pytest.mark.usefixtures("committed")


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
    assert "refused of step 'ship' was shipping.shipment_refused.v1 and is nothing" in problem.msg
    shorter = Saga("checkout", 2, CHECKOUT.starts, "order_id", CHECKOUT.steps[:-1])
    (problem,) = shape_problems([shorter], SHAPES)
    assert "step 'confirm' is gone" in problem.msg
    (problem,) = shape_problems([changed(3)], SHAPES)
    assert (problem.id, "shapes --write" in problem.hint) == ("sagas.E202", True)


def test_a_version_that_running_sagas_need_is_missed_by_the_check_of_the_database(checkout, monkeypatch):
    handle_batch([checkout.start()])
    monkeypatch.setattr("sagas.version_checks.DEFINITIONS", {("checkout", 3): changed(3)})

    assert "sagas.E203" in [problem.id for problem in check_running(None, databases=["default"])]
    assert check_running(None, databases=None) == []


def test_shapes_are_added_and_never_overwritten():
    before = Path(shapes.__file__).read_text()

    after = telling.with_shapes(before, [changed(3)])

    found: dict[str, Any] = {}
    exec(after, found)
    assert found["SHAPES"] == {**SHAPES, ("checkout", 3): changed(3).outline}
    assert after.startswith(before[: before.rindex("}")])


def test_the_orchestrator_does_not_start_without_a_version_that_is_running(checkout, release):
    handle_batch([checkout.start()])
    release(REFUND)

    with pytest.raises(
        CommandError, match=r"sagas 'checkout' of version 2, which settings\.SAGAS does not have"
    ):
        call_command("orchestrator")


def test_the_orchestrator_does_not_start_with_a_shape_that_has_changed(release):
    release(changed(2, refused=None))

    with pytest.raises(CommandError, match="refused of step 'ship' was"):
        call_command("orchestrator")
