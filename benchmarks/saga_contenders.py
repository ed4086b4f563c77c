"""Those who carry out the three steps: Makegood's own processes, and the peers.

Whoever it is, the orders wait when the clock starts, it runs until the last of them has ended and is recorded as such,
and afterwards the rows say that every effect was made exactly once.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.comparing import Contender
from benchmarks.errors import BenchmarkError
from benchmarks.filling import NOTE, Sender
from benchmarks.peers import saga_names
from benchmarks.processes import cpu_seconds
from benchmarks.saga_messages import SERVICES, OrderTaken, OrderTakenInBatch, Start
from benchmarks.stage import COUNTERS, Place, Running, Stage, wait_while_running
from messaging.envelope import new_message_id

CHILDREN = 1
"""Children of each of our workers: with three services there are more processes than processors."""
CHILDREN_OF_PEERS = 2
DBOS_PROCESSES = 2
DBOS_THREADS = 8
TRANSACTIONS, STEPS = "transactions", "steps"
"""How DBOS runs a step: in the transaction of its checkpoint, so that it takes effect exactly once, or before it."""
PACE, CLOSE_PACE = 0.1, 0.02
"""Seconds between looks at the rows, which cost the database half a millisecond each; the second when most is done."""
MOST = 0.9
LONGEST = 300.0

_EFFECTS = "SELECT step, sum(value)::bigint, sum(version)::bigint FROM benchmarks_effect GROUP BY step"
_VERSIONS = "SELECT sum(version)::bigint FROM benchmarks_effect"
_HAPPY = {saga_names.RESERVE: (1, 1), saga_names.AUTHORIZE: (1, 1), saga_names.SHIP: (1, 1)}
_UNDONE = {saga_names.RESERVE: (0, 2), saga_names.AUTHORIZE: (0, 2), saga_names.SHIP: (0, 1)}
"""What one saga adds to the sum and to the versions of each step's rows."""

Order = dict[str, Any]


def orders(count: int, *, is_deliverable: bool) -> list[Order]:
    """So many orders; those in flight together change rows of their own."""
    return [
        {"counter": number % COUNTERS, "is_deliverable": is_deliverable, "note": NOTE}
        for number in range(count)
    ]


@dataclass
class Carrier:
    """Somebody who carries out sagas. `start` hands them over; `unfinished` finds any of which the end is not recorded.

    Those who only take orders while they run (`is_asked`) do not stand still before.
    """

    stage: Stage
    place: Place
    processes: Sequence[Running]
    start: Callable[[list[Order]], None]
    unfinished: str
    is_asked: bool = False
    spent: list[float] = field(default_factory=list)
    """Milliseconds of processor time for one saga, turn by turn, with the servers' part where it is known."""

    def contender(self, count: int, *, is_deliverable: bool = True) -> Contender:
        def contend(share: float) -> float:
            return self.carry_out(orders(max(1, int(share * count)), is_deliverable=is_deliverable))

        return contend

    def carry_out(self, given: list[Order]) -> float:
        """Sagas a second. Raises `BenchmarkError` where an effect is missing or was made twice."""
        observer = self.place.connect()

        def ask(statement: str) -> list[tuple[Any, ...]]:
            with observer.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())

        def wait(condition: Callable[[], bool], *, every: float = CLOSE_PACE) -> None:
            what = f"{len(given)} sagas to end"
            wait_while_running(condition, *self.processes, what=what, timeout=LONGEST, every=every)

        each = _HAPPY if given[0]["is_deliverable"] else _UNDONE
        changes = len(given) * sum(versions for _, versions in each.values())
        try:
            before = {step: (value, versions) for step, value, versions in ask(_EFFECTS)}
            already = sum(versions for _, versions in before.values())
            with ExitStack() as stack:
                for process in () if self.is_asked else self.processes:
                    stack.enter_context(process.standing_still())
                if not self.is_asked:
                    self.start(given)
            began, used = time.perf_counter(), self._cpu()
            if self.is_asked:
                self.start(given)
            wait(lambda: ask(_VERSIONS)[0][0] - already >= MOST * changes, every=PACE)
            wait(lambda: ask(_VERSIONS)[0][0] - already >= changes)
            wait(lambda: not ask(f"SELECT EXISTS ({self.unfinished})")[0][0])
            seconds = time.perf_counter() - began
            self.spent.append(1000 * (self._cpu() - used) / len(given))
            for step, value, versions in ask(_EFFECTS):
                make_sure_of_effects(
                    step,
                    each[step],
                    sagas=len(given),
                    value=value - before[step][0],
                    changes=versions - before[step][1],
                )
            return len(given) / seconds
        finally:
            observer.close()

    def _cpu(self) -> float:
        own = sum(cpu_seconds(process.process.pid) for process in self.processes)
        return own + (self.stage.cpu_seconds_of_servers() or 0.0)


def make_sure_of_effects(step: str, each: tuple[int, int], *, sagas: int, value: int, changes: int) -> None:
    """`each` is what one saga adds to the sum and to the versions of this step's rows. Raises `BenchmarkError`."""
    if (value, changes) != (each[0] * sagas, each[1] * sagas):
        raise BenchmarkError(
            f"After {sagas} sagas the rows of {step} have changed {changes} times by {value} in all, "
            f"not {each[1] * sagas} times by {each[0] * sagas}: an effect is missing, or was made twice."
        )


@contextmanager
def makegood(stage: Stage, place: Place) -> Iterator[dict[Start, Carrier]]:
    """Relay, orchestrator and one worker for each service; they carry out both kinds of sagas."""
    with ExitStack() as stack:
        processes = [
            stack.enter_context(stage.relay(place)),
            stack.enter_context(
                stage.running(place, f"orchestrator-{place.name}", "manage.py", "orchestrator")
            ),
            *stack.enter_context(workers(stage, place, name="worker")),
        ]
        wait_for_consumers(place, processes, workers=1)
        yield {
            kind: Carrier(stage, place, processes, _taking(place, kind), _UNFINISHED)
            for kind in (OrderTaken, OrderTakenInBatch)
        }


_UNFINISHED = "SELECT 1 FROM sagas_sagarecord WHERE finished_at IS NULL"


@contextmanager
def workers(stage: Stage, place: Place, *, name: str) -> Iterator[list[Running]]:
    """A worker for each service of the saga."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                stage.worker(place, concurrency=CHILDREN, service=service, name=f"{name}-{service}")
            )
            for service in SERVICES
        ]


def wait_for_consumers(place: Place, processes: Sequence[Running], *, workers: int) -> None:
    """Until every service has so many workers, and the sagas have their orchestrator."""
    wait_while_running(
        lambda: (
            place.consumers("sagas") == 1 and all(place.consumers(service) == workers for service in SERVICES)
        ),
        *processes,
        what=f"{workers} worker(s) for each service",
        timeout=60,
        every=0.2,
    )


def _taking(place: Place, kind: Start) -> Callable[[list[Order]], None]:
    def start(given: list[Order]) -> None:
        Sender(place).send([kind(order_id=new_message_id(), **order) for order in given])

    return start


@contextmanager
def bare_chain(stage: Stage, place: Place) -> Iterator[Carrier]:
    """A Celery worker; the orders are published as chains while it stands still."""
    with _celery(stage, place, stage.peers_python, "bare_chain", queue=saga_names.CHAIN_QUEUE) as (
        worker,
        starter,
    ):
        yield Carrier(stage, place, [worker], lambda given: _ask(starter, given), "SELECT 1 WHERE false")


@contextmanager
def celery_saga(stage: Stage, place: Place, python: Path) -> Iterator[Carrier]:
    """A Celery worker; the sagas are stored and published while it stands still."""
    table = saga_names.CELERY_SAGA_TABLE
    place.query(
        f"CREATE TABLE IF NOT EXISTS {table} (id text PRIMARY KEY, status text NOT NULL, body jsonb NOT NULL)"
    )
    place.query(f"CREATE INDEX ON {table} (status) WHERE status NOT IN ('completed', 'compensated')")
    unfinished = f"SELECT 1 FROM {table} WHERE status NOT IN ('completed', 'compensated')"
    with _celery(stage, place, python, "celery_saga_app", queue=saga_names.CELERY_SAGA_QUEUE) as (
        worker,
        starter,
    ):
        yield Carrier(stage, place, [worker], lambda given: _ask(starter, given), unfinished)


@contextmanager
def _celery(
    stage: Stage, place: Place, python: Path, module: str, *, queue: str
) -> Iterator[tuple[Running, Running]]:
    place.declare(queue)
    with ExitStack() as stack:
        worker = stack.enter_context(
            stage.running(
                place,
                f"worker-{module}",
                *("-m", "celery", "-A", f"benchmarks.peers.{module}", "worker", "-n", f"{module}@%h"),
                *(f"--concurrency={CHILDREN_OF_PEERS}", "--loglevel=CRITICAL"),
                python=python,
            )
        )
        starter = stack.enter_context(
            stage.running(
                place, f"starter-{module}", "-m", f"benchmarks.peers.{module}", python=python, is_asked=True
            )
        )
        yield worker, starter
    place.delete_queues(queue)


@contextmanager
def dbos(stage: Stage, place: Place, python: Path, *, how: str) -> Iterator[Carrier]:
    """Processes that run workflows when they are asked, each its share."""
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                stage.running(
                    place,
                    f"dbos-{how}-{number}",
                    *("-m", "benchmarks.peers.dbos_saga"),
                    python=python,
                    is_asked=True,
                    EXECUTOR=f"{how}-{number}",
                    STEPS_AS=how,
                    THREADS=str(DBOS_THREADS),
                )
            )
            for number in range(DBOS_PROCESSES)
        ]
        pool = stack.enter_context(ThreadPoolExecutor(len(processes)))

        def start(given: list[Order]) -> None:
            shares = [given[number :: len(processes)] for number in range(len(processes))]
            list(pool.map(_ask, processes, shares))

        unfinished = "SELECT 1 FROM dbos.workflow_status WHERE status NOT IN ('SUCCESS', 'ERROR')"
        yield Carrier(stage, place, processes, start, unfinished, is_asked=True)


def _ask(process: Running, given: list[Order]) -> None:
    process.ask({"orders": given})
