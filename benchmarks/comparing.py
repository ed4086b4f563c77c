"""Comparing what runs on a noisy machine: in turns, and by the ratio within each turn.

Contenders are measured A B A B, so that a slow minute of the machine slows all of them. What is reported is the
median of the ratios of each turn, not the ratio of medians.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Contender = Callable[[float], float]
"""Does this share of the work of a turn, and returns the rate."""

WARM_UP = 0.1
SIGNS = {">=": "≥", "<=": "≤", "<": "<"}


@dataclass(frozen=True)
class Series:
    """What one contender reached, turn by turn."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """A quarter of the values lies below the first, a quarter above the second."""
        if len(self.values) < 2:
            return self.values[0], self.values[0]
        first, _, third = statistics.quantiles(self.values, n=4, method="inclusive")
        return first, third

    def to_json(self) -> dict[str, Any]:
        return {
            "median": round(self.median, 3),
            "quartiles": [round(value, 3) for value in self.quartiles],
            "min": round(min(self.values), 3),
            "max": round(max(self.values), 3),
            "turns": [round(value, 3) for value in self.values],
        }


@dataclass(frozen=True)
class Figure:
    """One line of the result: what was found, and what it was to be. Without a target it is only told."""

    measurement: str
    name: str
    value: float | None
    unit: str = "×"
    target: float | None = None
    comparison: Literal[">=", "<=", "<"] = ">="
    detail: str = ""

    @property
    def is_met(self) -> bool | None:
        """None where nothing was asked or nothing was found."""
        if self.target is None or self.value is None:
            return None
        if self.comparison == ">=":
            return self.value >= self.target
        return self.value <= self.target if self.comparison == "<=" else self.value < self.target

    @property
    def share_of_target(self) -> float | None:
        """1 where the target is just met, more where it is exceeded."""
        if self.target is None or self.value is None or not self.target or not self.value:
            return None
        return self.value / self.target if self.comparison == ">=" else self.target / self.value

    def to_json(self) -> dict[str, Any]:
        value = None if self.value is None else round(self.value, 4)
        return {**asdict(self), "value": value, "is_met": self.is_met}


@dataclass(frozen=True)
class Outcome:
    """What a measurement found: its figures, the series behind them, and what was set."""

    figures: tuple[Figure, ...]
    series: Mapping[str, Series]
    settings: Mapping[str, Any]


def in_turns(
    contenders: Mapping[str, Contender], *, turns: int, longest: float, warm_up: bool = True
) -> dict[str, Series]:
    """Measure each contender once a turn; returns what each reached. A tenth of a turn goes before, to warm up.

    After `longest` seconds no further turn is begun, so that a slow machine gives fewer turns and not a longer run.
    """
    until = time.monotonic() + longest
    if warm_up:
        for measure in contenders.values():
            measure(WARM_UP)
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(turns):
        if turn and time.monotonic() > until:
            break
        for name, measure in contenders.items():
            found[name].append(measure(1.0))
    return {name: Series(tuple(values)) for name, values in found.items()}


def ratio(first: Series, second: Series) -> float:
    """The median, over the turns, of first by second."""
    return statistics.median(one / other for one, other in zip(first.values, second.values, strict=True))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def quantity(value: float, unit: str) -> str:
    """The value with as many digits as say something, and its unit."""
    digits = 0 if abs(value) >= 100 or value == int(value) else 2 if abs(value) < 10 else 1
    return f"{value:,.{digits}f} {unit}".strip()
