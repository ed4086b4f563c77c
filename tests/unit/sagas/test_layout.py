"""Where a drawing puts the steps of a saga."""

import pytest

from sagas.admin.layout import Place, layout
from sagas.checkout import CHECKOUT
from sagas.definition import Saga
from sagas.refund import REFUND
from tests.simulation.tables import BEGUN, TABLES, step


def places(definition: Saga) -> dict[str, tuple[int, int]]:
    return {
        step.name: (place.layer, place.lane)
        for step, place in zip(definition.steps, layout(definition), strict=True)
    }


def test_steps_that_follow_each_other_are_one_line():
    assert layout(CHECKOUT) == tuple(Place(layer, 0) for layer in range(len(CHECKOUT.steps)))


def test_steps_that_run_beside_each_other_stand_beside_each_other():
    assert places(REFUND) == {
        "request": (0, 0),
        "recall": (1, 0),
        "refund": (2, 0),
        "restock": (2, 1),
        "close": (3, 0),
    }


def test_a_branch_keeps_its_lane_and_an_arrow_that_passes_a_layer_has_its_own():
    branches = Saga(
        "s", 1, BEGUN, "order",
        (
            step("a"), step("b", after=("a",)), step("c", after=("a",)),
            step("d", after=("c",)), step("e", after=("a",)), step("f", after=("b", "d", "e")),
        ),
    )  # fmt: skip

    assert places(branches) == {"a": (0, 0), "b": (1, 0), "c": (1, 1), "e": (1, 2), "d": (2, 1), "f": (3, 0)}


@pytest.mark.parametrize("definition", TABLES, ids=lambda saga: saga.name)
def test_no_step_is_drawn_over_another_nor_over_an_arrow(definition):
    found = layout(definition)
    boxes = {(place.layer, place.lane) for place in found}

    assert len(boxes) == len(definition.steps)
    for position, all_before in enumerate(definition.predecessors):
        for before in all_before:
            begin, end = found[before], found[position]
            assert begin.layer < end.layer
            assert not boxes & {(layer, begin.lane) for layer in range(begin.layer + 1, end.layer)}
