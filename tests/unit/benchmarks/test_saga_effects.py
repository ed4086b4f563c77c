"""A turn counts only where every effect of its sagas was made exactly once."""

import pytest

from benchmarks.errors import BenchmarkError
from benchmarks.saga_contenders import make_sure_of_effects, orders


def test_orders_in_flight_together_change_rows_of_their_own():
    given = orders(50, is_deliverable=True)

    assert len({order["counter"] for order in given}) == 50


@pytest.mark.parametrize(("value", "changes"), [(9, 9), (11, 11), (10, 11)])
def test_a_missing_effect_or_one_too_many_spoils_the_turn(value: int, changes: int):
    with pytest.raises(BenchmarkError, match="After 10 sagas the rows of reserve have changed"):
        make_sure_of_effects("reserve", (1, 1), sagas=10, value=value, changes=changes)


def test_what_was_done_and_undone_leaves_the_rows_as_they_were_and_counts_twice():
    make_sure_of_effects("reserve", (0, 2), sagas=10, value=0, changes=20)
