"""`python -m benchmarks [--quick] [relay handling latency scale memory desk sagas]`, as `make bench` runs it."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.comparing import Outcome
from benchmarks.errors import BenchmarkError
from benchmarks.measurements import desk, handling, latency, memory, relay, sagas, scale
from benchmarks.scale import FULL, QUICK, Scale
from benchmarks.stage import ROOT, Stage, python_of
from launcher import environment as environments

MEASUREMENTS: dict[str, Callable[[Stage, Scale], Outcome]] = {
    "relay": relay.measure,
    "handling": handling.measure,
    "latency": latency.measure,
    "scale": scale.measure,
    "memory": memory.measure,
    "desk": desk.measure,
    "sagas": sagas.measure,
}
OTHER_PEERS = ("dbos", "celery-saga")
"""Those whose packages must not meet the others'."""
_ENV_FILE = "MAKEGOOD_ENV_FILE"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("measurements", nargs="*", metavar="measurement", help=", ".join(MEASUREMENTS))
    parser.add_argument("--quick", action="store_true", help="only show that everything works")
    parser.add_argument("--into", type=Path, help="folder for results.json and results.svg")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.measurements if name not in MEASUREMENTS]
    if unknown:
        parser.error(f"there is no measurement {unknown[0]!r}; there are {', '.join(MEASUREMENTS)}")
    env_file = os.environ.get(_ENV_FILE)
    if not env_file:
        parser.error(f"{_ENV_FILE} is not set; run it with: make bench")
    chosen = given.measurements or list(MEASUREMENTS)
    amount = QUICK if given.quick else FULL
    is_whole = amount is FULL and len(chosen) == len(MEASUREMENTS)
    folder = Path(env_file).parent / "benchmarks"
    folder.mkdir(exist_ok=True)
    stage = Stage(
        python=Path(sys.executable),
        peers_python=python_of(ROOT / ".dev" / "bench-venv"),
        other_peers={peer: python_of(ROOT / ".dev" / f"bench-venv-{peer}") for peer in OTHER_PEERS},
        folder=folder,
        server=environments.read(Path(env_file)),
    )
    try:
        outcomes, about = _measure(stage, amount, chosen)
    except BenchmarkError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        stage.clean()
    into = given.into or (ROOT / "benchmarks" if is_whole else folder)
    into.mkdir(parents=True, exist_ok=True)
    report.write(into, outcomes, about)
    if is_whole:
        report.publish(outcomes, about)
    figures = [figure for outcome in outcomes.values() for figure in outcome.figures]
    _say(f"\n{report.table(figures)}\n")
    _say(f"results: {into / 'results.json'}, {into / 'results.svg'}")
    return 0


def _measure(
    stage: Stage, amount: Scale, chosen: Sequence[str]
) -> tuple[dict[str, Outcome], dict[str, object]]:
    began = time.monotonic()
    if not stage.has_peers:
        _say(f"without peers: {stage.peers_python} is missing (make bench makes it)")
    for peer in OTHER_PEERS:
        if stage.python_of_peer(peer) is None:
            _say(f"without {peer}: {stage.other_peers[peer]} is missing (make bench makes it)")
    stage.place("small")
    outcomes: dict[str, Outcome] = {}
    for name in chosen:
        _say(f"measuring {name} ...")
        started = time.monotonic()
        outcomes[name] = MEASUREMENTS[name](stage, amount)
        _say(f"{report.table(outcomes[name].figures)}\n{name} took {time.monotonic() - started:.0f} s\n")
    return outcomes, report.facts(stage, amount, seconds=time.monotonic() - began)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
