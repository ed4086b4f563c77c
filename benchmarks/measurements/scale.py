"""What years of use cost: the same work beside a million waiting rows and ten million keys, and on a pile of due rows.

Both places are measured in turns, so that what is compared is their size and not the hour.
"""

import time
from contextlib import ExitStack

from kombu import Connection

from benchmarks.comparing import Figure, Outcome, Series, in_turns, ratio
from benchmarks.filling import fill_keys, fill_outbox, settle
from benchmarks.measurements.handling import CONCURRENCY, handling
from benchmarks.measurements.relay import our_relay
from benchmarks.messages import SERVICE, CountUp
from benchmarks.scale import Scale
from benchmarks.stage import Place, Stage, wait_while_running
from benchmarks.waiting import PACE

AT_LEAST = 0.8
SMALL, LARGE = "young", "old"
YEAR = 31_536_000.0
STANDSTILL = 1.0
"""Seconds without a message after which the outbox is empty."""


def measure(stage: Stage, scale: Scale) -> Outcome:
    small, large = stage.place("small"), stage.place("large")
    began = time.monotonic()
    fill_outbox(large, scale.waiting_rows, delay=YEAR, is_known=True)
    fill_keys(large, scale.keys)
    settle(large)
    settle(small)
    filled = time.monotonic() - began
    size = large.query("SELECT pg_size_pretty(pg_database_size(current_database()))")[0][0]
    with ExitStack() as stack:
        relays = {
            name: stack.enter_context(our_relay(stage, place, rows=scale.relay_rows))
            for name, place in ((SMALL, small), (LARGE, large))
        }
        relay_series = in_turns(relays, turns=scale.turns, longest=scale.longest / 2)
    with ExitStack() as stack:
        workers = {
            name: handling(
                place,
                stack.enter_context(stage.worker(place, concurrency=CONCURRENCY)),
                CountUp,
                count=scale.commands,
                spent=[],
            )
            for name, place in ((SMALL, small), (LARGE, large))
        }
        handling_series = in_turns(workers, turns=scale.turns, longest=scale.longest)
    pile = _pile(stage, small, large, scale)
    return Outcome(
        figures=(
            Figure("scale", "relay, old against young", ratio(*_pair(relay_series)), target=AT_LEAST),
            Figure("scale", "handling, old against young", ratio(*_pair(handling_series)), target=AT_LEAST),
            Figure(
                "scale",
                "relay on a pile against an almost empty outbox",
                ratio(*_pair(pile)),
                target=AT_LEAST,
            ),
        ),
        series={
            **{f"relay, {name}": series for name, series in relay_series.items()},
            **{f"handling, {name}": series for name, series in handling_series.items()},
            **{f"pile, {name}": series for name, series in pile.items()},
        },
        settings={
            "waiting rows": scale.waiting_rows,
            "idempotency keys": scale.keys,
            "rows due": scale.due_rows,
            "size of the old database": size,
            "seconds to fill": round(filled),
        },
    )


def _pair(series: dict[str, Series]) -> tuple[Series, Series]:
    return series[LARGE], series[SMALL]


def _pile(stage: Stage, small: Place, large: Place, scale: Scale) -> dict[str, Series]:
    """Messages a second into the queue: from a pile of due rows, and from an outbox that holds what one turn needs.

    The pile shrinks from turn to turn, and its dead rows lie before the living ones: a claim that had to step over
    them would show.
    """
    fill_outbox(large, scale.due_rows)
    settle(large)

    def from_few(share: float) -> float:
        fill_outbox(small, max(1, int(share * scale.relay_rows)))
        return _published_per_second(stage, small, seconds=share * scale.seconds_of_pile)

    def from_pile(share: float) -> float:
        return _published_per_second(stage, large, seconds=share * scale.seconds_of_pile)

    return in_turns(
        {SMALL: from_few, LARGE: from_pile}, turns=scale.turns, longest=scale.longest, warm_up=False
    )


def _published_per_second(stage: Stage, place: Place, *, seconds: float) -> float:
    """Start a relay, and count what reaches the queue in so many seconds, or until the outbox has no due row."""
    with stage.relay(place) as relay, Connection(place.broker_url) as connection:
        channel = connection.default_channel

        def depth() -> int:
            return int(channel.queue_declare(SERVICE, passive=True).message_count)

        wait_while_running(lambda: depth() > 0, relay, what="the relay to begin", timeout=60)
        first, began = depth(), time.perf_counter()
        last, ended = first, began
        while time.perf_counter() - began < seconds:
            time.sleep(PACE)
            now = depth()
            if now > last:
                last, ended = now, time.perf_counter()
            elif time.perf_counter() - ended > STANDSTILL:
                break
    place.purge(SERVICE)
    return (last - first) / (ended - began) if ended > began else float("nan")
