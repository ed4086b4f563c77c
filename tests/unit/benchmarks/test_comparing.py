"""Ratios are taken within a turn, and a figure knows whether it is met."""

from xml.etree import ElementTree

import pytest

from benchmarks.comparing import Figure, Series, in_turns, percentile, ratio
from benchmarks.picture import draw
from benchmarks.report import table


def test_contenders_take_turns_after_warming_up():
    order: list[tuple[str, float]] = []

    def contender(name: str):
        def contend(share: float) -> float:
            order.append((name, share))
            return 1.0

        return contend

    in_turns({"a": contender("a"), "b": contender("b")}, turns=2, longest=60)

    assert order == [("a", 0.1), ("b", 0.1), ("a", 1.0), ("b", 1.0), ("a", 1.0), ("b", 1.0)]


def test_a_slow_machine_gets_fewer_turns_but_at_least_one():
    found = in_turns({"a": lambda share: 5.0}, turns=9, longest=-1)

    assert found["a"].values == (5.0,)


def test_a_slow_minute_changes_no_ratio():
    ours, peer = Series((100, 10, 100)), Series((50, 5, 50))

    assert ratio(ours, peer) == 2


@pytest.mark.parametrize(
    ("value", "target", "comparison", "is_met"),
    [
        (10, 10, ">=", True),
        (9.9, 10, ">=", False),
        (10, 10, "<", False),
        (1, 1, "<=", True),
        (None, 1, ">=", None),
        (3, None, ">=", None),
    ],
)
def test_a_target_is_met_or_missed_or_was_not_asked_for(value, target, comparison, is_met):
    assert Figure("relay", "x", value, target=target, comparison=comparison).is_met is is_met


def test_the_share_of_a_target_grows_with_what_is_better():
    assert Figure("relay", "ratio", 20, target=10).share_of_target == 2
    assert Figure("latency", "p50", 5, "ms", 10, "<").share_of_target == 2


def test_a_percentile_is_one_of_the_values():
    assert [percentile(range(100), share) for share in (0.5, 0.99, 1.0)] == [50, 99, 99]


def test_the_picture_is_xml_whatever_the_figures_are_called():
    figures = [Figure("latency", "p50 of <a> & b", 12, "ms", 10, "<")]

    assert "p50 of <a> & b" in "".join(ElementTree.fromstring(draw(figures)).itertext())


def test_what_was_not_measured_is_said_and_not_drawn():
    figures = [Figure("relay", "against <peer>", None, target=10), Figure("relay", "rate", 12.5, unit="/s")]

    assert "not measured" in table(figures)
    assert "peer" not in draw(figures)
