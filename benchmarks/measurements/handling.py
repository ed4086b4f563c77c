"""How many commands a second a worker handles, against a bare Celery task that changes the same row."""

import json
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from benchmarks.comparing import Contender, Figure, Outcome, in_turns, ratio
from benchmarks.filling import Sender
from benchmarks.messages import BATCH, REPLIES, SERVICE, CountUp, CountUpInBatch
from benchmarks.peers import bare_names
from benchmarks.processes import cpu_seconds
from benchmarks.scale import Scale
from benchmarks.stage import Place, Running, Stage, wait_while_running

CONCURRENCY = 2
PACE = 0.05
"""Seconds between looks at the counters, which cost the database a millisecond each."""
AT_LEAST_OF_BARE = 0.6
AT_LEAST_OF_BARE_IN_BATCHES = 2.0
ONE, MANY, BARE = "one by one", f"in batches of {BATCH}", "bare Celery task"


def measure(stage: Stage, scale: Scale) -> Outcome:
    place = stage.place("small")
    cost = json.loads(stage.run(place, "-m", "benchmarks.cost"))
    spent: dict[str, list[float]] = {ONE: [], MANY: [], BARE: []}
    with ExitStack() as stack:
        worker = stack.enter_context(stage.worker(place, concurrency=CONCURRENCY))
        contenders: dict[str, Contender] = {
            ONE: handling(place, worker, CountUp, count=scale.commands, spent=spent[ONE]),
            MANY: handling(place, worker, CountUpInBatch, count=2 * scale.commands, spent=spent[MANY]),
        }
        if stage.has_peers:
            place.declare(bare_names.QUEUE)
            bare = stack.enter_context(bare_worker(stage, place))
            contenders[BARE] = bare_handling(place, bare, count=scale.commands, spent=spent[BARE])
        series = in_turns(contenders, turns=scale.turns, longest=scale.longest)
    if stage.has_peers:
        place.delete_queues(bare_names.QUEUE)

    def against_bare(name: str) -> float | None:
        return ratio(series[name], series[BARE]) if stage.has_peers else None

    return Outcome(
        figures=(
            Figure("handling", f"rate, {ONE}", series[ONE].median, unit="commands/s"),
            Figure("handling", f"rate, {MANY}", series[MANY].median, unit="commands/s"),
            Figure("handling", f"{ONE} against a {BARE}", against_bare(ONE), target=AT_LEAST_OF_BARE),
            Figure(
                "handling", f"{MANY} against a {BARE}", against_bare(MANY), target=AT_LEAST_OF_BARE_IN_BATCHES
            ),
            *(
                Figure(
                    "handling", f"the worker's processor time, {name}", statistics.median(times), unit="ms"
                )
                for name, times in spent.items()
                if times
            ),
            Figure("handling", "commits for a command", cost["commits"], unit="", target=1, comparison="<="),
            Figure("handling", "statements for a command", cost["statements"], unit=""),
            Figure("handling", "round trips for a command", cost["round_trips"], unit=""),
        ),
        series=series,
        settings={
            "commands": scale.commands,
            "pool": f"prefork, {CONCURRENCY} processes, acks_late, prefetch 4 each, quorum queues",
            "bare task": "one UPDATE of the same row on a psycopg2 connection that stays open, no task events",
            "ours": "the project's settings; task events on; replies end in the outbox",
        },
    )


def bare_worker(stage: Stage, place: Place) -> Any:
    return stage.running(
        place,
        "worker-bare",
        *("-m", "celery", "-A", "benchmarks.peers.bare_celery", "worker", "-n", "bare@%h"),
        f"--concurrency={CONCURRENCY}",
        python=stage.peers_python,
    )


def handling(
    place: Place,
    worker: Running,
    kind: type[CountUp] | type[CountUpInBatch],
    *,
    count: int,
    spent: list[float],
) -> Contender:
    def contend(share: float) -> float:
        some = max(1, int(share * count))
        rate = timed(place, worker, lambda: Sender(place).commands(kind, some), count=some, spent=spent)
        forget_replies(place)
        return rate

    return contend


def bare_handling(place: Place, worker: Running, *, count: int, spent: list[float]) -> Contender:
    def contend(share: float) -> float:
        some = max(1, int(share * count))
        return timed(
            place,
            worker,
            lambda: Sender(place).bare(bare_names.TASK, bare_names.QUEUE, some),
            count=some,
            spent=spent,
        )

    return contend


def timed(
    place: Place, worker: Running, send: Callable[[], None], *, count: int, spent: list[float]
) -> float:
    """Commands a second; notes the worker's processor time for one of them, in milliseconds.

    The worker stands still while the queue is filled, and the clock runs from its first move.
    """
    observer = place.connect()
    try:
        before = place.counted(observer)
        with worker.standing_still():
            send()
        began, used = time.perf_counter(), cpu_seconds(worker.process.pid)
        wait_while_running(
            lambda: place.counted(observer) - before >= count,
            worker,
            what=f"{count} commands to be handled",
            timeout=300,
            every=PACE,
        )
        seconds = time.perf_counter() - began
        spent.append(1000 * (cpu_seconds(worker.process.pid) - used) / count)
        return count / seconds
    finally:
        observer.close()


def forget_replies(place: Place) -> None:
    """The replies wait in the outbox, for no relay runs: the worker alone is measured."""
    place.query("DELETE FROM messaging_outboxmessage WHERE type = 'benchmarks.counted_up.v1'")
    place.purge(SERVICE, REPLIES)
