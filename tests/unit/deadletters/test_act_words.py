"""What the page that asks promises: the stages of a replay, and whether it is done at once."""

import pytest

from deadletters.admin.act_words import plan, words_of
from deadletters.models import LetterJob
from deadletters.tallies import Counted


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (1, ["1"]),
        (4, ["1", "3"]),
        (26, ["1", "5", "20"]),
        (27, ["1", "5", "20", "the other one"]),
        (100, ["1", "5", "20", "all 74 others"]),
    ],
)
def test_the_ramp_ends_with_whatever_is_left(number, told):
    assert plan(number, ramp=(1, 5, 20)) == told


def test_without_a_ramp_all_go_at_once():
    assert plan(7, ramp=()) == ["all 7"]


def test_of_letters_that_were_not_counted_all_others_come_last():
    assert plan(10_000, ramp=(1, 5), is_exact=False) == ["1", "5", "all others"]


@pytest.mark.parametrize(
    ("kind", "number", "is_at_once"),
    [
        ("replay", 1, True),
        ("replay", 2, False),
        ("discard", 500, True),
        ("discard", 501, False),
        ("restore", 500, True),
    ],
)
def test_few_letters_are_acted_on_at_once_and_many_by_a_job(kind, number, is_at_once):
    words = words_of(LetterJob.Kind(kind))

    assert words.is_at_once(Counted(number=number, is_exact=True)) is is_at_once
    assert not words.is_at_once(Counted(number=number, is_exact=False))
