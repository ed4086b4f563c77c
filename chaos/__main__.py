"""`python -m chaos`, as `make chaos` calls it: with the servers running, and the instance held."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from chaos import report
from chaos.run import Run, Wanted
from launcher import instance as instances
from launcher import interruption
from launcher.errors import Interrupted, LauncherError
from launcher.suite import ENV_FILE

ROOT = Path(__file__).resolve().parent.parent
FEWEST = 50
"""With fewer orders the nemesis's actions would fall together."""


def main(arguments: Sequence[str]) -> int:
    """Carry out one run; returns 0 if nothing was violated."""
    wanted = _read(arguments)
    instance = instances.chaos(ROOT)
    if os.environ.get(ENV_FILE) != str(instance.env_file):
        sys.stderr.write("The servers do not run. Type: make chaos\n")
        return 2
    interruption.listen()
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            run = Run(root=ROOT, instance=instance, wanted=wanted, progress=progress)
            found = run.carry_out()
    except Interrupted:
        console.print("interrupted: no report")
        return 130
    except LauncherError as error:
        sys.stderr.write(f"The run could not be finished. {error}\n")
        return 1
    page = report.write(found, instance.directory)
    for line in report.summary(found):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"the report is in {page.relative_to(ROOT)}, the processes' log in {run.log_file.relative_to(ROOT)}"
    )
    return 1 if found.violations else 0


def _read(arguments: Sequence[str]) -> Wanted:
    parser = argparse.ArgumentParser(
        prog="make chaos", description="A run of many orders with the nemesis on."
    )
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument(
        "--seed", type=int, default=1, help="the same seed, the same orders and the same plan"
    )
    parser.add_argument(
        "--rate", type=float, default=40, help="orders placed a second, at most (default: 40)"
    )
    parser.add_argument(
        "--copies", type=float, default=0.05, help="share of the messages that come twice (0 to 1)"
    )
    parser.add_argument("--fury", type=float, default=1, help="multiplies what the nemesis does (0.1 to 10)")
    given = parser.parse_args(arguments)
    if given.orders < FEWEST:
        parser.error(f"--orders is {given.orders}; give {FEWEST} at least")
    if not 0 <= given.copies <= 1:
        parser.error(f"--copies is {given.copies:g}; give a number from 0 to 1")
    if given.rate <= 0:
        parser.error(f"--rate is {given.rate:g}; give a number above 0")
    if not 0.1 <= given.fury <= 10:
        parser.error(f"--fury is {given.fury:g}; give a number from 0.1 to 10")
    return Wanted(**vars(given))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
