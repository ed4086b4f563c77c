"""The check that compares how long a command is repeated with how long its step is waited for."""

from datetime import timedelta

import msgspec

from contracts.billing import AuthorizePayment
from messaging.handling import handlers_of
from messaging.policies import RetryPolicy
from sagas.checkout import CHECKOUT_1 as CHECKOUT
from sagas.policy_checks import check_retry_policies, overlong_steps


def test_the_shop_itself_gives_no_step_up_while_its_command_is_repeated():
    assert check_retry_policies(None) == []


def test_a_step_whose_retries_outlast_its_deadline_is_named(monkeypatch, settings):
    patient = RetryPolicy(attempts=3, first_pause=50, longest_pause=100)
    settings.STEP_DEADLINE = 60
    declared = handlers_of("billing")[AuthorizePayment.wire_type]
    own = msgspec.structs.replace(declared, retry=patient)
    monkeypatch.setitem(handlers_of("billing"), AuthorizePayment.wire_type, own)

    warning, *of_other_versions = check_retry_policies(None)

    assert (warning.id, warning.obj) == ("sagas.W201", "checkout.authorize")
    assert {other.obj for other in of_other_versions} <= {"checkout.authorize"}
    assert "after 60 s" in warning.msg
    assert "150 s" in warning.msg


def test_from_the_pivot_on_patience_is_right():
    """Captures and compensations are declared more patient than any deadline here, and are not named."""
    named = {step for _, step, _, _ in overlong_steps([CHECKOUT], deadline=timedelta(0))}

    assert named == {"reserve", "authorize", "ship"}
