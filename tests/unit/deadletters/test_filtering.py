"""A filter and its address say the same, and what makes no sense is refused by name."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deadletters.errors import WrongFilter
from deadletters.filtering import MOST_IDS, LetterFilter

WHOLE = LetterFilter(
    state="open",
    service="billing",
    type="billing.authorize_payment.v1",
    fingerprint="abc",
    order="o-1",
    message_id=UUID(int=7),
    since=datetime(2026, 1, 31, 17, 5, tzinfo=UTC),
    until=datetime(2026, 2, 1, tzinfo=UTC),
    text="time out",
    ids=(UUID(int=1), UUID(int=2)),
)


def test_an_address_means_the_filter_that_it_was_made_from():
    assert LetterFilter.from_query(WHOLE.to_query()) == WHOLE
    assert LetterFilter.from_query({}) == LetterFilter()
    assert LetterFilter().to_query() == {}


def test_what_is_no_filters_is_passed_over():
    assert LetterFilter.from_query({"p": "3", "o": "-1", "q": "  ", "state": ""}) == LetterFilter()


@pytest.mark.parametrize(
    ("given_", "named"),
    [
        ({"state": "lost"}, "state is 'lost'; it must be one of open"),
        ({"message": "7"}, "message is '7', which is no identifier"),
        ({"ids": f"{uuid4()},x"}, "ids is 'x', which is no identifier"),
        ({"ids": ",".join(str(UUID(int=n)) for n in range(MOST_IDS + 1))}, f"at most {MOST_IDS}"),
        ({"since": "yesterday"}, "since is 'yesterday', which is no time"),
        ({"until": "0001-01-01T00:00:00+14:00"}, "until is '0001-01-01T00:00:00+14:00', which is no time"),
        ({"service": "a\x00b"}, "service is 'a\\x00b'; it holds a character that is in no letter"),
        ({"q": "half \ud800"}, "q is 'half \\ud800'; it holds a character"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(given_, named):
    with pytest.raises(WrongFilter) as refused:
        LetterFilter.from_query(given_)

    assert named in str(refused.value)


def test_a_time_with_another_zone_is_the_same_moment_and_told_in_utc():
    chosen = LetterFilter.from_query({"since": "2026-01-31T17:05+02:00", "until": "2026-02-01"})

    assert chosen.describe() == (
        "letters that died from 2026-01-31 15:05:00 UTC on that died before 2026-02-01 00:00:00 UTC"
    )


@given(st.dictionaries(st.sampled_from(list(WHOLE.to_query())), st.text(max_size=60)))
def test_any_address_is_a_filter_or_refused(query):
    try:
        chosen = LetterFilter.from_query(query)
    except WrongFilter as refused:
        assert str(refused)
    else:
        assert LetterFilter.from_query(chosen.to_query()) == chosen
        assert chosen.describe()
