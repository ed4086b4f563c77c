"""How much is measured: as much as says something, or as little as shows that the machinery works."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """`longest` is in seconds, for the turns of one measurement."""

    name: str
    turns: int
    longest: float
    relay_rows: int
    peer_rows: int
    commands: int
    latency_samples: int
    waiting_rows: int
    keys: int
    due_rows: int
    seconds_of_pile: float
    memory_messages: int
    letters: int
    openings: int
    batches: int
    sagas: int
    sagas_of_peers: int
    seconds_of_sagas: float
    finished_sagas: int


FULL = Scale(
    name="full",
    turns=5,
    longest=90,
    relay_rows=10_000,
    peer_rows=1_000,
    commands=3_000,
    latency_samples=1_500,
    waiting_rows=1_000_000,
    keys=10_000_000,
    due_rows=1_000_000,
    seconds_of_pile=4,
    memory_messages=100_000,
    letters=1_000_000,
    openings=30,
    batches=40,
    sagas=600,
    sagas_of_peers=300,
    seconds_of_sagas=12,
    finished_sagas=1_000_000,
)
QUICK = Scale(
    name="quick",
    turns=1,
    longest=5,
    relay_rows=400,
    peer_rows=40,
    commands=100,
    latency_samples=20,
    waiting_rows=2_000,
    keys=2_000,
    due_rows=2_000,
    seconds_of_pile=0.5,
    memory_messages=400,
    letters=6_000,
    openings=2,
    batches=2,
    sagas=20,
    sagas_of_peers=20,
    seconds_of_sagas=1,
    finished_sagas=1_000,
)
