"""A sparkline says in words what it draws, and needs neither style nor script."""

import re

from eventstore.admin_svg import sparkline


def heights(drawn: str) -> list[int]:
    return [int(height) for height in re.findall(r'height="(\d+)"></rect>', drawn)]


def test_bars_are_as_high_as_their_values_and_nothing_has_no_bar():
    drawn = sparkline([0, 1, 14, 28, 0], label="Deaths by hour")

    assert heights(drawn) == [2, 14, 28]
    for said in ('role="img"', "<title>Deaths by hour</title>", "0, 1, 14, 28, 0; at most 28"):
        assert said in drawn
    assert "style" not in drawn


def test_nothing_at_all_and_less_than_nothing_are_drawn_flat():
    assert heights(sparkline([0, 0], label="Deaths")) == []
    assert heights(sparkline([-3, 0], label="Deaths")) == []
    assert "Deaths: none" in sparkline([], label="Deaths")


def test_a_label_is_only_text():
    assert "<script>" not in sparkline([1], label="<script>")
