"""The launcher's commands."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher import instance as instances
from launcher import interruption
from launcher.benching import run_benchmarks
from launcher.chaos import run_chaos
from launcher.console import Console
from launcher.errors import Interrupted, LauncherError
from launcher.shop import run_shop
from launcher.shutdown import remove, stop_instance
from launcher.suite import run_second_half, run_suite

ROOT = Path(__file__).resolve().parent.parent
HELP = """\
make up      build what is needed, start the whole shop and stay until Ctrl-C
             (PORT, FLOWER_PORT, ADMIN_PASSWORD, DATABASE_URL, BROKER_URL are honoured)
make test    run the whole suite on servers of its own; make test ARGS="tests/unit -k saga"
make test-cluster
             run the tests that need three brokers
make bench   measure against other programs, on servers of its own; make bench ARGS="relay handling"
make chaos   an ordeal of 10,000 orders on servers of its own; make chaos ARGS="--orders 1000 --seed 7"
make down    stop a `make up` that was left behind
make clean   stop it and remove .dev/ with all that is stored"""


def main(arguments: Sequence[str]) -> int:
    """Carry out one command; returns the exit code."""
    command, *rest = arguments or ["help"]
    console = Console()
    interruption.listen()
    try:
        if command == "help":
            print(HELP)
        elif command == "up":
            run_shop(ROOT, os.environ)
        elif command == "test":
            return run_suite(ROOT, os.environ, rest)
        elif command == "test-second-half":
            return run_second_half(ROOT, os.environ)
        elif command == "bench":
            return run_benchmarks(ROOT, os.environ, rest)
        elif command == "chaos":
            return run_chaos(ROOT, os.environ, rest)
        elif command == "down":
            stop_instance(instances.up(ROOT), explain=console.say)
            console.say("nothing of `make up` runs any more")
        elif command == "clean":
            remove(
                *(make(ROOT) for make in (instances.up, instances.test, instances.bench, instances.chaos)),
                instances.test(ROOT, beside=True),
                explain=console.say,
            )
            console.say(".dev/ is removed")
        else:
            print(f"There is no command {command!r}.\n{HELP}", file=sys.stderr)
            return 2
    except Interrupted as interrupted:
        console.say("stopped")
        return interrupted.exit_code
    except LauncherError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0
