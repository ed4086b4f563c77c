"""`manage.py sagas`: what it lists, shows and does."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from deadletters.models import DeskEntry
from sagas.batch import handle_batch
from sagas.models import PauseSwitch, SagaRecord

pytestmark = pytest.mark.usefixtures("committed")


def sagas(*arguments: object) -> str:
    out = StringIO()
    call_command("sagas", *map(str, arguments), stdout=out)
    return out.getvalue()


def lines(*arguments: object) -> list[dict]:
    return [json.loads(line) for line in sagas(*arguments, "--json").splitlines()]


def test_sagas_are_listed_and_shown(checkout):
    handle_batch([checkout.start()])

    (listed,) = lines("list", "--order", checkout.order_id, "--step", "reserve", "--state", "running")
    (shown,) = lines("show", checkout.id)

    assert (listed["id"], listed["current"], listed["attempts"]) == (str(checkout.id), ["reserve"], 1)
    assert shown["standing"].startswith("Waits since 0 s for inventory to reserve stock")
    assert [step["state"] for step in shown["steps"]] == ["done", "sent", *["pending"] * 4]
    assert [message["direction"] for message in shown["messages"]] == ["received", "sent"]
    assert "London" not in sagas("show", checkout.id), "who the customer is stays out"
    assert "reserve: under way" in sagas("show", checkout.id)


def test_a_saga_is_watched_until_the_time_is_over(checkout):
    handle_batch([checkout.start()])

    (seen,) = lines("watch", "--order", checkout.order_id, "--seconds", "0.01")

    assert seen["current"] == ["reserve"]


def test_sagas_are_steered_with_a_name_in_the_log(checkout):
    handle_batch([checkout.start()])

    assert lines("pause", checkout.id) == [{"id": str(checkout.id), "done": "pause", "sent": []}]
    with pytest.raises(SystemExit):
        sagas("retry", checkout.id, "reserve")
    assert lines("resume", checkout.id)[0]["done"] == "resume"
    assert lines("retry", checkout.id, "reserve")[0]["sent"] == ["inventory.reserve_stock.v1"]
    with pytest.raises(CommandError, match="reason is missing"):
        sagas("cancel", checkout.id)
    sagas("cancel", checkout.id, "--reason", "the customer rang")

    assert checkout.status == "compensating"
    entries = DeskEntry.objects.filter(saga_id=checkout.id).order_by("id")
    assert [entry.action for entry in entries] == ["pause", "retry", "resume", "retry", "cancel"]
    assert all(entry.by.endswith("(terminal)") for entry in entries)


def test_a_saga_is_run_again(checkout):
    handle_batch([checkout.start()])

    (told,) = lines("fork", checkout.id, "reserve", "--reason", "mended")

    assert SagaRecord.objects.get(id=told["fork"]).forked_from_id == checkout.id
    assert told["sent"] == ["inventory.reserve_stock.v1"]


def test_switches_are_set_listed_and_lifted():
    sagas("hold", "type", "billing.void_payment.v1", "--reason", "the bank asks us to")

    try:
        (held,) = [switch for switch in lines("switches") if switch["name"] == "billing.void_payment.v1"]
        assert held["reason"] == "the bank asks us to"
    finally:
        assert "handed out again" in sagas("lift", "billing.void_payment.v1")
    assert not PauseSwitch.objects.filter(name="billing.void_payment.v1", lifted_at=None).exists()
    with pytest.raises(CommandError, match="No switch is set"):
        sagas("lift", "billing.void_payment.v1")


def test_nonsense_is_told_in_words():
    with pytest.raises(CommandError, match="is not the id of a saga"):
        sagas("show", "nonsense")
    with pytest.raises(CommandError, match="There is no saga"):
        sagas("show", "00000000-0000-0000-0000-000000000001")
