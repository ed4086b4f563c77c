"""What the nemesis does, and when: a list of actions that follows from the seed alone.

The clock is the number of finished orders, not time: so the same seed does the same to the same share of the work on
a slow machine and on a fast one.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle
from typing import Any

SERVERS = ("rabbitmq", "postgres")
RARE = ("web", "gateway")
"""Processes that are killed rarely: orders do not come by the web here, and every call needs the gateway."""


class Kind(StrEnum):
    KILL = "process killed"
    KILL_CHILD = "worker's child killed"
    FREEZE = "process frozen"
    STOP_SERVER = "server stopped and started"
    KILL_SERVER = "server killed and started"
    ALARM = "broker's memory alarm"
    GATEWAY_FAULTS = "gateway faults"
    HOLD_BACK = "messages held back and reversed"
    CUT_SESSIONS = "database sessions cut"
    CUT_CONNECTIONS = "broker connections cut"


OUTAGES = frozenset({Kind.STOP_SERVER, Kind.KILL_SERVER, Kind.ALARM})
"""What no message gets through. There is quiet after each, and never two at once."""

_OF_EACH_SERVER = "of each server"
_COUNTS = {
    _OF_EACH_SERVER: (1, 0.5),
    Kind.ALARM: (1, 0.4),
    Kind.KILL: (4, 9.0),
    Kind.KILL_CHILD: (2, 4.0),
    Kind.FREEZE: (1, 0.8),
    Kind.GATEWAY_FAULTS: (1, 0.6),
    Kind.HOLD_BACK: (2, 3.0),
    Kind.CUT_SESSIONS: (1, 1.5),
    Kind.CUT_CONNECTIONS: (1, 0.8),
}
"""How many at the least, and how many for each thousand orders."""
_BEGINS, _ENDS = 0.04, 0.8
"""Shares of the orders between which the nemesis works. It falls behind where an action takes long, and what it does
when all are finished proves little: so it plans to be done well before."""


@dataclass(frozen=True, kw_only=True)
class Action:
    """To be done when `at` orders are finished; the next one is begun only when this one is over.

    `seconds` is how long the state lasts, `number` which one of several (a worker's child) or how many (messages).
    `meanwhile` are processes that are killed while a server is away.
    """

    at: int
    kind: Kind
    target: str = ""
    seconds: float = 0.0
    number: int = 0
    meanwhile: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [self.kind.value, self.target, f"for {self.seconds:g} s" if self.seconds else ""]
        if self.meanwhile:
            parts.append(f"and {', '.join(self.meanwhile)} killed meanwhile")
        return " ".join(filter(None, parts))


def plan(
    *,
    seed: int,
    orders: int,
    processes: Sequence[str],
    queues: Sequence[str],
    databases: Sequence[str],
    fury: float = 1.0,
) -> tuple[Action, ...]:
    """The actions of a run, in order. Each kind is done at least once, however few the orders.

    `fury` multiplies how many they are. Two actions are at least `least_gap` finished orders apart, and between two
    outages there is another action.
    """
    chance = random.Random(seed)
    outages = list(_outages(chance, amount=orders * fury, processes=processes))
    others = list(
        _others(chance, amount=orders * fury, processes=processes, queues=queues, databases=databases)
    )
    mixed = _interleaved(others, outages)
    first, slot = orders * _BEGINS, orders * (_ENDS - _BEGINS) / len(mixed)
    # Each within the first half of its slot: so the gap is at least the other half.
    return tuple(
        Action(at=int(first + slot * (place + chance.random() / 2)), **rest)
        for place, rest in enumerate(mixed)
    )


def least_gap(actions: Sequence[Action], *, orders: int) -> int:
    """How many orders are finished, at the least, between two actions of such a plan."""
    return int(orders * (_ENDS - _BEGINS) / len(actions) / 2)


def _count(what: str, amount: float) -> int:
    least, per_thousand = _COUNTS[what]
    return max(least, round(per_thousand * amount / 1000))


def _outages(chance: random.Random, *, amount: float, processes: Sequence[str]) -> Iterator[dict[str, Any]]:
    drawn: list[dict[str, Any]] = []
    victims = [name for name in processes if name not in RARE]
    for server in SERVERS:
        for number in range(_count(_OF_EACH_SERVER, amount)):
            kind = (Kind.STOP_SERVER, Kind.KILL_SERVER)[(number + chance.randint(0, 1)) % 2]
            drawn.append(
                {
                    "kind": kind,
                    "target": server,
                    "seconds": round(chance.uniform(0, 4), 1),
                    "meanwhile": tuple(chance.sample(victims, k=chance.randint(0, 2))),
                }
            )
    for _ in range(_count(Kind.ALARM, amount)):
        drawn.append({"kind": Kind.ALARM, "target": "rabbitmq", "seconds": round(chance.uniform(1, 5), 1)})
    chance.shuffle(drawn)
    yield from drawn


def _others(
    chance: random.Random,
    *,
    amount: float,
    processes: Sequence[str],
    queues: Sequence[str],
    databases: Sequence[str],
) -> Iterator[dict[str, Any]]:
    often = _deck(chance, [name for name in processes if name not in RARE])
    rarely = _deck(chance, [name for name in processes if name in RARE])
    workers = _deck(chance, [name for name in processes if name.endswith("-worker")])
    waiting = _deck(chance, list(queues))
    drawn: list[dict[str, Any]] = []
    kills = _count(Kind.KILL, amount)
    for number in range(kills):
        # Of twelve kills one meets the web or the gateway.
        drawn.append({"kind": Kind.KILL, "target": next(rarely if number % 12 == 11 else often)})
    for _ in range(_count(Kind.KILL_CHILD, amount)):
        drawn.append({"kind": Kind.KILL_CHILD, "target": next(workers), "number": chance.randint(0, 99)})
    for _ in range(_count(Kind.FREEZE, amount)):
        drawn.append({"kind": Kind.FREEZE, "target": next(often), "seconds": round(chance.uniform(1, 6), 1)})
    for _ in range(_count(Kind.GATEWAY_FAULTS, amount)):
        drawn.append(
            {"kind": Kind.GATEWAY_FAULTS, "target": "gateway", "seconds": round(chance.uniform(5, 20), 1)}
        )
    for _ in range(_count(Kind.HOLD_BACK, amount)):
        drawn.append(
            {
                "kind": Kind.HOLD_BACK,
                "target": next(waiting),
                "seconds": round(chance.uniform(0.5, 4), 1),
                "number": chance.randint(5, 40),
            }
        )
    cut = _deck(chance, list(databases))
    for _ in range(_count(Kind.CUT_SESSIONS, amount)):
        drawn.append({"kind": Kind.CUT_SESSIONS, "target": next(cut)})
    for _ in range(_count(Kind.CUT_CONNECTIONS, amount)):
        drawn.append({"kind": Kind.CUT_CONNECTIONS, "target": "rabbitmq"})
    chance.shuffle(drawn)
    yield from drawn


def _deck(chance: random.Random, names: list[str]) -> Iterator[str]:
    """The names in a shuffled order, again and again: all are met before one is met twice."""
    return cycle(chance.sample(names, k=len(names)))


def _interleaved(others: list[dict[str, Any]], outages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The outages evenly among the others, none beside another."""
    while len(others) < len(outages):
        others = [*others, *others]
    mixed = list(others)
    for number, outage in reversed(list(enumerate(outages))):
        mixed.insert(round((number + 1) * len(others) / (len(outages) + 1)), outage)
    return mixed
