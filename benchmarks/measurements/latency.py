"""How long it takes from a commit to the start of the handler, while little is going on."""

import json

from benchmarks.comparing import WARM_UP, Figure, Outcome, Series, percentile
from benchmarks.measurements.handling import CONCURRENCY, handling
from benchmarks.messages import CountUp
from benchmarks.scale import Scale
from benchmarks.stage import Place, Stage, wait_while_running

AT_MOST_MEDIAN_MS = 10.0
SHARE_OF_PEAK = 0.1
SEED = 2026


def measure(stage: Stage, scale: Scale) -> Outcome:
    place = stage.place("small")
    with stage.worker(place, concurrency=CONCURRENCY) as worker:
        contend = handling(place, worker, CountUp, count=scale.commands, spent=[])
        contend(WARM_UP)
        peak = contend(1.0)
        with stage.relay(place) as relay:
            rate = max(5.0, SHARE_OF_PEAK * peak)
            _send(stage, place, rate=rate, count=max(5, scale.latency_samples // 20))
            place.query("DELETE FROM benchmarks_start")
            committed = _send(stage, place, rate=rate, count=scale.latency_samples)
            wait_while_running(
                lambda: place.query("SELECT count(*) FROM benchmarks_start")[0][0] >= len(committed),
                *(worker, relay),
                what="all handlers to have started",
                timeout=120,
            )
    started = {
        str(marker): at for marker, at in place.query("SELECT marker, started_at FROM benchmarks_start")
    }
    waited = [1000 * (started[marker] - at) for marker, at in committed.items() if marker in started]
    series = Series(tuple(sorted(waited)))
    return Outcome(
        figures=(
            Figure(
                "latency", "commit to handler, p50", percentile(waited, 0.5), "ms", AT_MOST_MEDIAN_MS, "<"
            ),
            Figure("latency", "commit to handler, p99", percentile(waited, 0.99), "ms"),
        ),
        series={f"p{share}": Series((percentile(waited, share / 100),)) for share in (50, 90, 95, 99)},
        settings={
            "rate": round(rate, 1),
            "peak": round(peak, 1),
            "samples": len(series.values),
            "arrivals": f"exponential gaps, seed {SEED}",
            "from": "all is written and COMMIT is about to be sent",
            "to": "the first line of the handler",
        },
    )


def _send(stage: Stage, place: Place, *, rate: float, count: int) -> dict[str, float]:
    found: dict[str, float] = json.loads(
        stage.run(place, "-m", "benchmarks.sender", str(rate), str(count), str(SEED + count))
    )
    return found
