"""How many three-step sagas a second, beside a DBOS workflow, a saga of celery-saga and a bare Celery chain.

Happy, and refused at the third step with two compensations; how long one takes at half the peak; what a million
finished sagas cost the next one; and what a second worker for each service brings.
"""

import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime

from benchmarks.comparing import WARM_UP, Contender, Figure, Outcome, Series, in_turns, percentile, ratio
from benchmarks.filling import settle
from benchmarks.filling_sagas import EMPTY, fill_finished_sagas
from benchmarks.saga_contenders import (
    CHILDREN,
    CHILDREN_OF_PEERS,
    DBOS_PROCESSES,
    DBOS_THREADS,
    STEPS,
    TRANSACTIONS,
    Carrier,
    bare_chain,
    celery_saga,
    dbos,
    makegood,
    orders,
    wait_for_consumers,
    workers,
)
from benchmarks.saga_messages import BATCH, OrderTaken, OrderTakenInBatch, Start
from benchmarks.scale import Scale
from benchmarks.stage import Place, Stage, wait_while_running

ONE, MANY = "one by one", f"in batches of {BATCH}"
CHAIN, CELERY_SAGA = "bare Celery chain", "celery-saga"
SINGLE, DOUBLE = "one worker a service", "two workers a service"
FEW, BESIDE = "few finished sagas", "very many"
DBOS, DBOS_STEPS = "DBOS, each effect exactly once", "DBOS, plain steps"
AT_LEAST_OF_DBOS = 2.0
AT_LEAST_OF_DBOS_IN_BATCHES = 4.0
AT_LEAST_OF_CHAIN = 0.5
AT_LEAST_BESIDE_A_MILLION = 0.8
SHARE_OF_PEAK = 0.5
SEED = 2026
KINDS: Mapping[str, Start] = {ONE: OrderTaken, MANY: OrderTakenInBatch}
SHARE_OF_BATCHES = 3
"""In batches there are so many times as many sagas in a turn, so that a turn lasts about as long."""


def measure(stage: Stage, scale: Scale) -> Outcome:
    small, large = stage.place("small"), stage.place("large")
    for place in (small, large):
        place.query(EMPTY)
    with makegood(stage, small) as ours:
        carriers = {name: ours[kind] for name, kind in KINDS.items()}
        with ExitStack() as stack:
            everybody = {**carriers, **_peers(stage, small, stack)}
            happy = in_turns(_contenders(everybody, scale), turns=scale.turns, longest=scale.longest)
            spent = {name: statistics.median(carrier.spent) for name, carrier in everybody.items()}
            undone = in_turns(
                _contenders(everybody, scale, is_deliverable=False),
                turns=max(1, scale.turns - 2),
                longest=scale.longest * 0.6,
            )
        waits = {
            name: _latency(stage, carriers[name], kind.__name__, peak=happy[name].median, scale=scale)
            for name, kind in KINDS.items()
        }
        growth = _growth(stage, small, carriers, scale)
        with makegood(stage, large) as others:
            beside, filled = _beside_a_million(
                {FEW: carriers, BESIDE: {name: others[kind] for name, kind in KINDS.items()}}, scale
            )
    return Outcome(
        figures=(
            *(
                Figure("sagas", f"rate, {name}", series.median, unit="sagas/s")
                for name, series in happy.items()
            ),
            *_targets(happy),
            *(
                Figure("sagas", f"undone, rate, {name}", series.median, unit="sagas/s")
                for name, series in undone.items()
            ),
            *_against(undone, prefix="undone, "),
            *(
                Figure("sagas", f"processor time for a saga, {name}", milliseconds, unit="ms")
                for name, milliseconds in spent.items()
            ),
            *(
                Figure(
                    "sagas",
                    f"start to end at half the peak, {name}, p{share}",
                    percentile(waited, share / 100),
                    "ms",
                )
                for name, waited in waits.items()
                for share in (50, 99)
            ),
            *(
                Figure(
                    "sagas",
                    f"two workers a service against one, {name}",
                    ratio(*_pair(growth, name, DOUBLE, SINGLE)),
                )
                for name in KINDS
            ),
            *(
                Figure(
                    "sagas",
                    f"beside {scale.finished_sagas:,} finished against few, {name}",
                    ratio(*_pair(beside, name, BESIDE, FEW)),
                    target=AT_LEAST_BESIDE_A_MILLION,
                )
                for name in KINDS
            ),
        ),
        series={
            **happy,
            **{f"undone, {name}": series for name, series in undone.items()},
            **{f"workers: {name}": series for name, series in growth.items()},
            **{f"finished: {name}": series for name, series in beside.items()},
            **{
                f"start to end, {name}, p{share}, ms": Series((percentile(waited, share / 100),))
                for name, waited in waits.items()
                for share in (50, 90, 95, 99)
            },
        },
        settings={
            "sagas": scale.sagas,
            "sagas in batches": SHARE_OF_BATCHES * scale.sagas,
            "sagas of DBOS and celery-saga": scale.sagas_of_peers,
            "ours": f"a relay, an orchestrator, three workers with {CHILDREN} child each; the project's settings",
            "DBOS": f"{DBOS_PROCESSES} processes, {DBOS_THREADS} workflows at a time in each",
            "celery-saga and chain": f"prefork, {CHILDREN_OF_PEERS} children, acks_late, prefetch 4 each, confirms",
            "processor time": "of the processes, PostgreSQL and RabbitMQ"
            if stage.cpu_seconds_of_servers() is not None
            else "of the processes, without the servers",
            "finished sagas": scale.finished_sagas,
            **filled,
            "arrivals": f"exponential gaps, seed {SEED}",
        },
    )


def _peers(stage: Stage, place: Place, stack: ExitStack) -> dict[str, Carrier]:
    """Those whose virtualenvs are there; they run until the stack is closed."""
    peers: dict[str, Carrier] = {}
    if stage.has_peers:
        peers[CHAIN] = stack.enter_context(bare_chain(stage, place))
    if (python := stage.python_of_peer("celery-saga")) is not None:
        peers[CELERY_SAGA] = stack.enter_context(celery_saga(stage, place, python))
    if (python := stage.python_of_peer("dbos")) is not None:
        peers[DBOS] = stack.enter_context(dbos(stage, place, python, how=TRANSACTIONS))
        peers[DBOS_STEPS] = stack.enter_context(dbos(stage, place, python, how=STEPS))
    return peers


def _contenders(
    carriers: Mapping[str, Carrier], scale: Scale, *, is_deliverable: bool = True
) -> dict[str, Contender]:
    counts = {ONE: scale.sagas, MANY: SHARE_OF_BATCHES * scale.sagas, CHAIN: scale.sagas}
    return {
        name: carrier.contender(counts.get(name, scale.sagas_of_peers), is_deliverable=is_deliverable)
        for name, carrier in carriers.items()
    }


def _targets(series: Mapping[str, Series]) -> Iterator[Figure]:
    targets = {
        (ONE, DBOS): AT_LEAST_OF_DBOS,
        (MANY, DBOS): AT_LEAST_OF_DBOS_IN_BATCHES,
        (ONE, CHAIN): AT_LEAST_OF_CHAIN,
    }
    return _against(series, targets)


def _against(
    series: Mapping[str, Series], targets: Mapping[tuple[str, str], float] = {}, *, prefix: str = ""
) -> Iterator[Figure]:
    """Ours by each peer; a peer that is missing was not measured."""
    for peer in (DBOS, DBOS_STEPS, CELERY_SAGA, CHAIN):
        for name in KINDS:
            found = ratio(series[name], series[peer]) if peer in series else None
            yield Figure("sagas", f"{prefix}{name} against {peer}", found, target=targets.get((name, peer)))


def _pair(series: Mapping[str, Series], name: str, first: str, second: str) -> tuple[Series, Series]:
    return series[f"{name}, {first}"], series[f"{name}, {second}"]


def _latency(stage: Stage, carrier: Carrier, kind: str, *, peak: float, scale: Scale) -> Sequence[float]:
    """Milliseconds from the commit of an order to the end of its saga, at half the peak."""
    place = carrier.place
    rate = max(5.0, SHARE_OF_PEAK * peak)
    _send(stage, place, rate=rate, count=max(5, int(rate * scale.seconds_of_sagas / 10)), kind=kind)
    committed = _send(stage, place, rate=rate, count=max(10, int(rate * scale.seconds_of_sagas)), kind=kind)
    ended: dict[str, datetime] = {}

    def have_ended() -> bool:
        found = place.query(
            "SELECT business_key, finished_at FROM sagas_sagarecord "
            "WHERE business_key = ANY(%s) AND finished_at IS NOT NULL",
            list(committed),
        )
        ended.update(found)
        return len(ended) == len(committed)

    wait_while_running(have_ended, *carrier.processes, what="all sagas to end", timeout=120, every=0.2)
    return sorted(1000 * (ended[order].timestamp() - at) for order, at in committed.items())


def _send(stage: Stage, place: Place, *, rate: float, count: int, kind: str) -> dict[str, float]:
    found: dict[str, float] = json.loads(
        stage.run(place, "-m", "benchmarks.saga_sender", str(rate), str(count), str(SEED + count), kind)
    )
    return found


def _growth(stage: Stage, place: Place, carriers: Mapping[str, Carrier], scale: Scale) -> dict[str, Series]:
    """The second workers are there for their turns only: a worker that is stopped would keep what it was given."""
    found: dict[str, list[float]] = {}
    contenders = _contenders(carriers, scale)
    for _ in range(max(1, scale.turns - 2)):
        for name, contend in contenders.items():
            found.setdefault(f"{name}, {SINGLE}", []).append(contend(1.0))
        with workers(stage, place, name="second") as second:
            wait_for_consumers(place, second, workers=2)
            for name, contend in contenders.items():
                contend(WARM_UP)
                found.setdefault(f"{name}, {DOUBLE}", []).append(contend(1.0))
        wait_for_consumers(place, (), workers=1)
    return {name: Series(tuple(values)) for name, values in found.items()}


def _beside_a_million(
    carriers: Mapping[str, Mapping[str, Carrier]], scale: Scale
) -> tuple[dict[str, Series], dict[str, object]]:
    """The rates beside few finished sagas and beside very many, in turns, and how the many came about."""
    large = carriers[BESIDE][ONE]
    began = time.monotonic()
    large.carry_out(orders(1, is_deliverable=True))
    fill_finished_sagas(large.place, scale.finished_sagas)
    for place in (large.place, carriers[FEW][ONE].place):
        settle(place)
    filled = time.monotonic() - began
    contenders = {
        f"{name}, {size}": contend
        for size, those in carriers.items()
        for name, contend in _contenders(those, scale).items()
    }
    series = in_turns(contenders, turns=scale.turns, longest=scale.longest * 0.6)
    size = large.place.query("SELECT pg_size_pretty(pg_database_size(current_database()))")[0][0]
    return series, {"size of the database with them": size, "seconds to fill": round(filled)}
