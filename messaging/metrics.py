"""What a process counts of its own work, for Prometheus.

Counting costs a microsecond and never fails. A label has one of a few values that are known beforehand: services,
databases, types of `contracts/`, outcomes; never an id, and never what came over the wire as it is.
"""

import os
from enum import StrEnum
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.process_collector import ProcessCollector

from contracts.catalogue import MESSAGE_TYPES

UNKNOWN_TYPE = "unknown"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_BATCH_SIZES = (1, 2, 5, 10, 25, 50, 100, 200, 500, 1000)

REGISTRY = CollectorRegistry()
"""What this process tells of itself."""
ProcessCollector(registry=REGISTRY)


class Outcome(StrEnum):
    """What became of a delivery."""

    HANDLED = "handled"
    DUPLICATE = "duplicate"
    """It had been handled before; a command was answered again."""
    PUT_BACK = "put_back"
    """It waits in the outbox, for a gateway or for somebody else's call to it; no attempt is counted."""
    FAILED = "failed"
    """The attempt failed and is recorded; the next one waits in the outbox."""
    HELD_BACK = "held_back"
    """It waits for its predecessor in its stream."""
    REJECTED = "rejected"
    """The broker moves it to the dead letters."""
    LOST = "lost"
    """Its process ended in the middle; it is delivered again."""


_handled = Histogram(
    "makegood_message_handling_seconds",
    "Time from taking a message in hand until its transaction was committed, by what became of it.",
    ["service", "type", "outcome"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
_attempts_failed = Counter(
    "makegood_attempts_failed",
    "Attempts to handle a message that failed; final ones are followed by a dead letter.",
    ["service", "type", "final"],
    registry=REGISTRY,
)
_redelivered = Counter(
    "makegood_messages_redelivered",
    "Messages that the broker delivered again, because whoever had them before did not settle them.",
    ["service"],
    registry=REGISTRY,
)
_published = Counter(
    "makegood_relay_messages",
    "Outbox rows that were sent to the broker, by its answer.",
    ["database", "answer"],
    registry=REGISTRY,
)
_relay_batch_size = Histogram(
    "makegood_relay_batch_size",
    "Outbox rows in one transaction of the relay.",
    ["database"],
    buckets=_BATCH_SIZES,
    registry=REGISTRY,
)
_relay_seconds = Histogram(
    "makegood_relay_publish_seconds",
    "Time from sending a batch to the broker until its last answer.",
    ["database"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
_orchestrator_batch_size = Histogram(
    "makegood_orchestrator_batch_size",
    "Messages in one transaction of the orchestrator.",
    buckets=_BATCH_SIZES,
    registry=REGISTRY,
)
_orchestrator_seconds = Histogram(
    "makegood_orchestrator_batch_seconds",
    "Time for one transaction of the orchestrator.",
    buckets=_SECONDS,
    registry=REGISTRY,
)
_orchestrator_batches_failed = Counter(
    "makegood_orchestrator_batches_failed",
    "Batches that were rolled back, and whose messages were then taken one by one.",
    registry=REGISTRY,
)
_collected = Counter(
    "makegood_dead_letters_collected", "Dead letters stored.", ["service"], registry=REGISTRY
)


_is_forked = False


def _count_no_more() -> None:
    global _is_forked
    _is_forked = True


# Nobody asks a child, and a lock that another thread held at the fork would never be let go in it.
os.register_at_fork(after_in_child=_count_no_more)


def message_handled(service: str, wire_type: str, outcome: Outcome, seconds: float) -> None:
    """A delivery is settled, after so many seconds."""
    if _is_forked:
        return
    _handling(service, _known(wire_type), outcome).observe(seconds)


def attempt_failed(service: str, wire_type: str, *, is_final: bool) -> None:
    """An attempt has been recorded as failed; a final one is the last."""
    if _is_forked:
        return
    _attempts_failed.labels(service, _known(wire_type), "yes" if is_final else "no").inc()


def message_redelivered(service: str) -> None:
    """The broker has delivered a message again."""
    if _is_forked:
        return
    _redelivered.labels(service).inc()


def batch_published(
    database: str, *, confirmed: int, refused: int, returned: int, unanswered: int, seconds: float
) -> None:
    """The relay has published a batch: how many rows got which answer, and how long the broker took."""
    if _is_forked:
        return
    _relay_batch_size.labels(database).observe(confirmed + refused + returned + unanswered)
    _relay_seconds.labels(database).observe(seconds)
    for answer, count in (
        ("confirmed", confirmed),
        ("refused", refused),
        ("returned", returned),
        ("unanswered", unanswered),
    ):
        if count:
            _published.labels(database, answer).inc(count)


def batch_decided(messages: int, *, seconds: float) -> None:
    """The orchestrator has committed a batch of so many messages."""
    if _is_forked:
        return
    _orchestrator_batch_size.observe(messages)
    _orchestrator_seconds.observe(seconds)


def batch_failed() -> None:
    """The orchestrator has rolled a batch back and takes its messages one by one."""
    if _is_forked:
        return
    _orchestrator_batches_failed.inc()


def dead_letters_collected(service: str, count: int) -> None:
    """The collector has stored so many dead letters of a service."""
    if _is_forked:
        return
    _collected.labels(service).inc(count)


def _known(wire_type: str) -> str:
    return wire_type if wire_type in MESSAGE_TYPES else UNKNOWN_TYPE


@lru_cache(maxsize=4096)
def _handling(service: str, wire_type: str, outcome: Outcome) -> Histogram:
    return _handled.labels(service, wire_type, outcome.value)
