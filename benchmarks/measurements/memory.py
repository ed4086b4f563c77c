"""What the processes hold in memory, idle, warm, and after many messages: it is not to grow."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from benchmarks.comparing import Figure, Outcome, Series
from benchmarks.filling import Sender, fill_outbox
from benchmarks.measurements.handling import CONCURRENCY, PACE, forget_replies
from benchmarks.messages import REPLIES, SERVICE, CountUp
from benchmarks.processes import memory_mb
from benchmarks.scale import Scale
from benchmarks.stage import Place, Running, Stage, wait_while_running
from contracts.orders import OrderPlaced
from contracts.values import Address, Money, PricedLine
from messaging.envelope import new_message_id

AT_MOST_GROWTH = 1.05
"""Memory after all messages against memory after the first tenth, when every cache is filled."""
CHUNKS = 10
LONGEST = 150.0
"""Seconds for one process; on a slow machine it gets fewer messages, and the result says how many."""

Step = Callable[[int], None]
"""Let the process handle so many messages, and return when it has."""


def measure(stage: Stage, scale: Scale) -> Outcome:
    place = stage.place("small")
    series: dict[str, Series] = {}
    handled: dict[str, int] = {}

    def note(name: str, process: Running, step: Step) -> None:
        series[name], handled[name] = _followed(process, step, messages=scale.memory_messages)

    with stage.relay(place) as relay:
        note("relay", relay, lambda count: _relay(place, relay, count))
    with stage.worker(place, concurrency=CONCURRENCY) as worker:
        note("worker", worker, lambda count: _handle(place, worker, count))
    with stage.running(place, "orchestrator", "manage.py", "orchestrator") as orchestrator:
        note("orchestrator", orchestrator, lambda count: _orchestrate(place, orchestrator, count))
    figures = []
    for name, one in series.items():
        idle, warm, last = one.values[0], one.values[1], one.values[-1]
        figures += [
            Figure("memory", f"{name}, idle", idle, unit="MB"),
            Figure("memory", f"{name}, after {handled[name]:,} messages", last, unit="MB"),
            Figure("memory", f"{name}, growth", last / warm, target=AT_MOST_GROWTH, comparison="<="),
        ]
    return Outcome(
        figures=tuple(figures),
        series=series,
        settings={
            "messages": handled,
            "what": "proportional set size of the process and its children, in MB: idle, then after each tenth",
            "growth": "the last value against that after the first tenth",
            "worker": f"prefork, {CONCURRENCY} processes",
        },
    )


def _followed(process: Running, step: Step, *, messages: int) -> tuple[Series, int]:
    """Memory when idle and after each chunk, and how many messages there were."""
    until = time.monotonic() + LONGEST
    chunk = max(1, messages // CHUNKS)
    _wait_until_idle(process)
    found = [memory_mb(process.process.pid)]
    handled = 0
    while handled < messages and (len(found) < 3 or time.monotonic() < until):
        step(chunk)
        handled += chunk
        found.append(memory_mb(process.process.pid))
    return Series(tuple(found)), handled


def _wait_until_idle(process: Running) -> None:
    """Until the process has started: its memory is then the same twice in a row."""
    last = 0.0

    def is_still() -> bool:
        nonlocal last
        time.sleep(0.5)
        before, last = last, memory_mb(process.process.pid)
        return last > 20 and abs(last - before) < 0.1

    wait_while_running(is_still, process, what=f"{process.name} to have started", timeout=60)


def _relay(place: Place, relay: Running, count: int) -> None:
    fill_outbox(place, count)
    wait_while_running(
        lambda: place.query("SELECT max(id) FROM messaging_outboxmessage")[0][0] is None,
        relay,
        what="the outbox to be empty",
        timeout=300,
    )
    place.purge(SERVICE)


def _handle(place: Place, worker: Running, count: int) -> None:
    observer = place.connect()
    try:
        before = place.counted(observer)
        Sender(place).commands(CountUp, count)
        wait_while_running(
            lambda: place.counted(observer) - before >= count,
            worker,
            what=f"{count} commands to be handled",
            timeout=600,
            every=PACE,
        )
    finally:
        observer.close()
    forget_replies(place)


def _orchestrate(place: Place, orchestrator: Running, count: int) -> None:
    """Each message begins a saga: a row, a command and a deadline in the outbox."""
    (before,) = place.query("SELECT count(*) FROM sagas_sagarecord")[0]
    Sender(place).send([_order_placed() for _ in range(count)])
    wait_while_running(
        lambda: place.query("SELECT count(*) FROM sagas_sagarecord")[0][0] - before >= count,
        orchestrator,
        what=f"{count} sagas to have begun",
        timeout=600,
        every=PACE,
    )
    place.query("TRUNCATE messaging_outboxmessage")
    place.purge("sagas", "inventory", REPLIES)


def _order_placed() -> OrderPlaced:
    return OrderPlaced(
        order_id=new_message_id(),
        lines=(PricedLine(sku="mug", name="Everyday mug", quantity=2, unit_price=Money(1250, "EUR")),),
        total=Money(2500, "EUR"),
        payment_token="tok_visa",
        ship_to=Address(
            name="Ada Lovelace",
            line1="12 St James's Square",
            city="London",
            postcode="SW1Y 4JH",
            country="GB",
        ),
        placed_at=datetime.now(UTC),
    )
