"""How often a message is tried, and when: declared with its handler, refused where it makes no sense."""

from datetime import timedelta

import pytest

from messaging.errors import InvalidMessage, InvalidPolicy, PermanentError, TransientError
from messaging.policies import RetryPolicy


class CardExpired(Exception):
    pass


def seconds(policy: RetryPolicy) -> list[float]:
    """The pause before each repetition, without jitter."""
    return [policy.longest_pause_before(attempt).total_seconds() for attempt in range(2, policy.attempts + 1)]


def test_the_pause_doubles_up_to_the_longest():
    policy = RetryPolicy(attempts=7, first_pause=0.5, longest_pause=5)

    assert seconds(policy) == [0.5, 1, 2, 4, 5, 5]
    assert policy.total_pauses() == timedelta(seconds=17.5)


def test_a_thousandth_attempt_has_a_pause_too():
    policy = RetryPolicy(attempts=1000, first_pause=0.001, longest_pause=1e9)

    assert policy.longest_pause_before(1000) <= timedelta(seconds=1e9)


@pytest.mark.parametrize(("jitter", "shortest"), [(0, 8), (0.25, 6), (1, 0)])
def test_jitter_takes_off_no_more_than_its_part_of_a_pause(jitter, shortest):
    policy = RetryPolicy(first_pause=8, longest_pause=8, jitter=jitter)

    pauses = [
        policy.pause_before(2, chance=lambda least, most: least),
        policy.pause_before(2, chance=lambda least, most: most),
    ]

    assert [pause.total_seconds() for pause in pauses] == [shortest, 8]
    assert timedelta(seconds=shortest) <= policy.pause_before(2) <= timedelta(seconds=8)


def test_the_last_attempt_and_a_permanent_error_end_it():
    policy = RetryPolicy(attempts=3, permanent=(CardExpired,))

    assert not policy.is_last(2, TransientError())
    assert policy.is_last(3, TransientError())
    for error in (PermanentError(), InvalidMessage(), CardExpired()):
        assert policy.is_last(1, error)


def test_what_is_not_declared_is_the_settings_own(settings):
    settings.RETRY_ATTEMPTS, settings.RETRY_FIRST_PAUSE, settings.RETRY_LONGEST_PAUSE = 3, 0.25, 1.5

    assert seconds(RetryPolicy()) == [0.25, 0.5]
    assert RetryPolicy(attempts=9).longest_pause == 1.5


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("attempts", 0),
        ("attempts", 2.5),
        ("attempts", True),
        ("first_pause", 0),
        ("first_pause", -1),
        ("first_pause", float("nan")),
        ("longest_pause", 0.01),
        ("longest_pause", float("inf")),
        ("jitter", 1.5),
        ("jitter", -0.1),
        ("permanent", ValueError),
        ("permanent", ("ValueError",)),
        ("permanent", (KeyboardInterrupt,)),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_its_field(field, value):
    with pytest.raises(InvalidPolicy, match=f"`{field}`") as refused:
        RetryPolicy(**{"first_pause": 0.5, field: value})

    assert refused.value.field == field
