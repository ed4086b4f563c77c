"""The results as a picture: a bar for each figure that has a target, and one line where the targets are."""

import math
from collections.abc import Sequence
from html import escape

from benchmarks.comparing import SIGNS, Figure, quantity

WIDTH, ROW, TOP, LABELS = 860, 46, 64, 24
LEFT, RIGHT = 24.0, 150.0
LEAST, MOST = 0.25, 4.0
"""Shares of the target at the two ends of the axis, which is logarithmic; longer bars are cut."""

_STYLE = """
  .ground { fill: #ffffff } .text { fill: #1f2328 } .quiet { fill: #59636e } .line { stroke: #1f2328 }
  .track { fill: #eaeef2 } .met { fill: #2da44e } .missed { fill: #cf222e }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117 } .text { fill: #f0f6fc } .quiet { fill: #9198a1 } .line { stroke: #f0f6fc }
    .track { fill: #21262d } .met { fill: #3fb950 } .missed { fill: #f85149 }
  }
  text { font: 14px system-ui, -apple-system, "Segoe UI", sans-serif } .title { font-weight: 600; font-size: 17px }
  .quiet { font-size: 12px }"""


def draw(figures: Sequence[Figure]) -> str:
    """An SVG document, readable on a light and on a dark ground."""
    shown = [figure for figure in figures if figure.share_of_target is not None]
    height = TOP + ROW * len(shown) + LABELS
    at_target = _x(1.0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" aria-label="Benchmark results against their targets">',
        f"<style>{_STYLE}\n</style>",
        f'<rect class="ground" width="{WIDTH}" height="{height}" rx="8"/>',
        f'<text class="text title" x="{LEFT}" y="30">Measured, as a share of the target</text>',
        f'<text class="quiet" x="{at_target}" y="{TOP - 10}" text-anchor="middle">target</text>',
    ]
    for number, figure in enumerate(shown):
        share = figure.share_of_target
        assert share is not None and figure.value is not None and figure.target is not None
        y = TOP + ROW * number
        target = f"{SIGNS[figure.comparison]} {quantity(figure.target, figure.unit)}"
        parts += [
            f'<text class="text" x="{LEFT}" y="{y + 14}">{escape(f"{figure.measurement}: {figure.name}")}</text>',
            f'<rect class="track" x="{LEFT}" y="{y + 21}" width="{WIDTH - LEFT - RIGHT}" height="12" rx="3"/>',
            f'<rect class="{"met" if figure.is_met else "missed"}" x="{LEFT}" y="{y + 21}" '
            f'width="{_x(share) - LEFT:.1f}" height="12" rx="3"/>',
            f'<text class="text" x="{WIDTH - RIGHT + 12}" y="{y + 32}">{escape(quantity(figure.value, figure.unit))}'
            f' <tspan class="quiet">{escape(target)}</tspan></text>',
        ]
    bottom = TOP + ROW * len(shown)
    parts += [
        f'<line class="line" x1="{at_target}" y1="{TOP - 4}" x2="{at_target}" y2="{bottom}" stroke-width="1.5" '
        'stroke-dasharray="4 3"/>',
        f'<text class="quiet" x="{LEFT}" y="{bottom + 14}">Logarithmic; right of the line is better than asked. '
        "Green: met, red: missed.</text>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _x(share: float) -> float:
    """Where a share of the target ends on the axis."""
    bounded = min(MOST, max(LEAST * 1.02, share))
    position = math.log(bounded / LEAST) / math.log(MOST / LEAST)
    return LEFT + position * (WIDTH - LEFT - RIGHT)
