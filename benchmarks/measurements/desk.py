"""The dead-letter desk with a million letters: what its pages cost, and whether storing one more costs what it did."""

import json
import time
from contextlib import ExitStack
from typing import Any

from benchmarks.collecting import BATCH
from benchmarks.comparing import Contender, Figure, Outcome, Series, in_turns, percentile, ratio
from benchmarks.filling import settle
from benchmarks.filling_letters import DAYS, GROUPS, fill_letters
from benchmarks.scale import Scale
from benchmarks.stage import Running, Stage

LONGEST_MS = 300.0
MOST_STATEMENTS = 10
AT_LEAST = 0.8
FEW, MANY = "few letters", "many letters"


def measure(stage: Stage, scale: Scale) -> Outcome:
    small, large = stage.place("small"), stage.place("large")
    began = time.monotonic()
    fill_letters(large, scale.letters)
    with _collector(stage, "large") as collector:
        collector.ask({"fold": True})
    settle(large)
    filled = time.monotonic() - began
    pages: dict[str, Any] = json.loads(stage.run(large, "-m", "benchmarks.desk", str(scale.openings)))
    with ExitStack() as stack:
        collectors = {
            FEW: stack.enter_context(_collector(stage, small.name)),
            MANY: stack.enter_context(_collector(stage, large.name)),
        }
        contenders = {name: _storing(running, scale.batches) for name, running in collectors.items()}
        stored = in_turns(contenders, turns=scale.turns, longest=scale.longest)
        folded = collectors[MANY].ask({"fold": True})["seconds"]
    p95 = {name: percentile(page["ms"], 0.95) for name, page in pages.items()}
    return Outcome(
        figures=(
            *(
                Figure("desk", f"{name}, p95, {pages[name]['statements']} statements", ms, unit="ms")
                for name, ms in p95.items()
            ),
            Figure("desk", "the slowest page, p95", max(p95.values()), "ms", LONGEST_MS, "<"),
            Figure(
                "desk",
                "statements of a page, most",
                max(page["statements"] for page in pages.values()),
                "",
                MOST_STATEMENTS,
                "<",
            ),
            Figure("desk", "collecting into a few letters", stored[FEW].median, unit="letters/s"),
            Figure(
                "desk",
                "collecting, many letters against few",
                ratio(stored[MANY], stored[FEW]),
                target=AT_LEAST,
            ),
            Figure("desk", "folding the tallies of what was collected", 1000 * folded, unit="ms"),
        ),
        series={
            **{f"{name}, ms": Series(tuple(page["ms"])) for name, page in pages.items()},
            **{f"collecting, {name}": series for name, series in stored.items()},
        },
        settings={
            "letters": scale.letters,
            "groups": GROUPS,
            "days": DAYS,
            "openings of each page": scale.openings,
            "letters in a batch": BATCH,
            "size of the letters": large.query(
                "SELECT pg_size_pretty(pg_total_relation_size('deadletters_deadletter'))"
            )[0][0],
            "seconds to fill": round(filled),
        },
    )


def _collector(stage: Stage, place: str) -> Any:
    return stage.running(
        stage.place(place), f"collector-{place}", "-m", "benchmarks.collecting", is_asked=True
    )


def _storing(collector: Running, batches: int) -> Contender:
    def contend(share: float) -> float:
        some = max(1, int(share * batches))
        return some * BATCH / float(collector.ask({"batches": some})["seconds"])

    return contend
