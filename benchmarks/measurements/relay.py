"""How many messages a second the relay publishes, against django-celery-outbox's and against py-amqp alone."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import msgspec

from benchmarks.comparing import Contender, Figure, Outcome, in_turns, ratio
from benchmarks.filling import NOTE, fill_outbox, wire_of
from benchmarks.messages import SERVICE, CountUp
from benchmarks.peers import outbox_names
from benchmarks.scale import Scale
from benchmarks.stage import COUNTERS, Place, Running, Stage, wait_while_running

WINDOW = 500
"""Unconfirmed messages, ours and the limit's: RELAY_BATCH."""
AT_LEAST_OF_PEER = 10.0
AT_LEAST_OF_LIMIT = 0.6
OURS, PEER, LIMIT = "relay", "django-celery-outbox relay", "raw py-amqp"


def measure(stage: Stage, scale: Scale) -> Outcome:
    place = stage.place("small")
    with ExitStack() as stack:
        contenders = {OURS: stack.enter_context(our_relay(stage, place, rows=scale.relay_rows))}
        if stage.has_peers:
            contenders[PEER] = stack.enter_context(_peer(stage, rows=scale.peer_rows))
            contenders[LIMIT] = stack.enter_context(_limit(stage, place, count=scale.relay_rows))
        series = in_turns(contenders, turns=scale.turns, longest=scale.longest)
    against_peer = ratio(series[OURS], series[PEER]) if stage.has_peers else None
    against_limit = ratio(series[OURS], series[LIMIT]) if stage.has_peers else None
    return Outcome(
        figures=(
            Figure("relay", "rate", series[OURS].median, unit="messages/s"),
            Figure("relay", f"against {PEER}", against_peer, target=AT_LEAST_OF_PEER),
            Figure("relay", f"against {LIMIT}, window {WINDOW}", against_limit, target=AT_LEAST_OF_LIMIT),
        ),
        series=series,
        settings={
            "rows": scale.relay_rows,
            "rows of the peer": scale.peer_rows,
            "window": WINDOW,
            "peer": {"batch": WINDOW, "publish_concurrency": 1, "idle_time": 0.01, "confirm_publish": True},
        },
    )


@contextmanager
def our_relay(stage: Stage, place: Place, *, rows: int) -> Iterator[Contender]:
    """`manage.py relay` runs meanwhile; the contender fills the outbox and waits until it is empty again."""
    with stage.relay(place) as relay:
        yield lambda share: drain(place, relay, rows=max(1, int(share * rows)))


def drain(place: Place, relay: Running, *, rows: int, timeout: float = 300) -> float:
    """Messages a second, from the commit of so many due rows to the deletion of the last."""
    observer = place.connect()
    try:
        before, began = fill_outbox(place, rows)

        def is_drained() -> bool:
            with observer.cursor() as cursor:
                cursor.execute("SELECT coalesce(max(id), 0) <= %s FROM messaging_outboxmessage", [before])
                return bool(cursor.fetchone()[0])

        wait_while_running(is_drained, relay, what="the outbox to be empty", timeout=timeout)
        return rows / (time.perf_counter() - began)
    finally:
        observer.close()
        place.purge(SERVICE)


@contextmanager
def _peer(stage: Stage, *, rows: int) -> Iterator[Contender]:
    place = stage.place("small")
    stage.run(
        place,
        *("-m", "django", "migrate", "--verbosity=0"),
        python=stage.peers_python,
        DJANGO_SETTINGS_MODULE="benchmarks.peers.outbox_settings",
    )
    place.declare(outbox_names.QUEUE)
    payload = CountUp(counter=1, note=NOTE).to_payload()
    with stage.running(
        place,
        "relay-peer",
        *("-m", "django", "celery_outbox_relay", f"--batch-size={WINDOW}", "--idle-time=0.01"),
        python=stage.peers_python,
        DJANGO_SETTINGS_MODULE="benchmarks.peers.outbox_settings",
    ) as relay:

        def contend(share: float) -> float:
            count = max(1, int(share * rows))
            place.query(
                "INSERT INTO celery_outbox (created_at, retries, task_id, task_name, args, kwargs, options, "
                "schema_version) SELECT now(), 0, gen_random_uuid()::text, %s, %s::jsonb, '{}', '{}', 1 "
                "FROM generate_series(1, %s)",
                outbox_names.TASK,
                json.dumps([payload]),
                count,
            )
            began = time.perf_counter()
            wait_while_running(
                lambda: place.query("SELECT max(id) FROM celery_outbox")[0][0] is None,
                relay,
                what="the peer's outbox to be empty",
                timeout=300,
            )
            rate = count / (time.perf_counter() - began)
            place.purge(outbox_names.QUEUE)
            return rate

        yield contend
        place.delete_queues(outbox_names.QUEUE)


@contextmanager
def _limit(stage: Stage, place: Place, *, count: int) -> Iterator[Contender]:
    kinds = [wire_of(CountUp(counter=number % COUNTERS, note=NOTE)) for number in range(100)]
    messages = [msgspec.to_builtins(wire) for wire in kinds]
    with stage.running(
        place,
        "raw",
        *("-m", "benchmarks.peers.raw_publisher"),
        python=stage.peers_python,
        is_asked=True,
        WINDOW=str(WINDOW),
    ) as raw:
        yield _publishing(raw, place, messages, rounds=count // len(messages))


def _publishing(raw: Running, place: Place, messages: list[Any], *, rounds: int) -> Contender:
    def contend(share: float) -> float:
        times = max(1, int(share * rounds))
        answer = raw.ask({"messages": messages, "rounds": times})
        place.purge(SERVICE)
        return times * len(messages) / float(answer["seconds"])

    return contend
