"""The pace of a run as a line of text."""

from collections.abc import Sequence
from itertools import pairwise

BARS = " ▁▂▃▄▅▆▇█"
WIDTH = 72


def pace(samples: Sequence[tuple[float, int]], *, width: int = WIDTH) -> list[float]:
    """Orders finished a second, in `width` equal parts of the run; `samples` are (seconds, orders finished)."""
    if len(samples) < 2 or samples[-1][0] <= samples[0][0]:
        return []
    begun, ended = samples[0][0], samples[-1][0]
    part = (ended - begun) / width
    counts = [_at(samples, begun + part * number) for number in range(width + 1)]
    return [(later - earlier) / part for earlier, later in pairwise(counts)]


def bars(values: Sequence[float]) -> str:
    """The values as a row of bars; the tallest is the greatest value, and only nothing at all is blank."""
    greatest = max(values, default=0.0)
    if greatest <= 0:
        return BARS[0] * len(values)
    tallest = len(BARS) - 1
    return "".join(
        BARS[0] if value <= 0 else BARS[max(1, round(value / greatest * tallest))] for value in values
    )


def marks(events: Sequence[tuple[float, str]], *, seconds: float, width: int = WIDTH) -> str:
    """A row with a letter where something happened; events are (seconds from the beginning, letter)."""
    row = [" "] * width
    for at, letter in events:
        row[min(width - 1, max(0, int(at / seconds * width)))] = letter
    return "".join(row)


def _at(samples: Sequence[tuple[float, int]], moment: float) -> float:
    """The orders finished by a moment, interpolated between two samples."""
    before = samples[0]
    for sample in samples:
        if sample[0] >= moment:
            if sample[0] == before[0]:
                return float(sample[1])
            share = (moment - before[0]) / (sample[0] - before[0])
            return before[1] + share * (sample[1] - before[1])
        before = sample
    return float(samples[-1][1])
