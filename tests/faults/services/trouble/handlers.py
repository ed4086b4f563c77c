"""A handler that misbehaves as its message asks. Each run leaves a line in a file, each success a row in a table."""

import ctypes
import os
import signal
import time
from pathlib import Path
from uuid import uuid4

from django.db import connections

from messaging import outbox
from messaging.errors import PermanentError, TransientError
from messaging.handling import handles
from trouble.messages import Behaved, Misbehave

RUNS = Path(os.environ["TROUBLE_FOLDER"])


@handles(Misbehave)
def misbehave(command: Misbehave) -> Behaved:
    runs = _count_this_run(command)
    # The effect comes first, so that a failure has something to undo; nothing in the table forbids a second one.
    with connections["default"].cursor() as cursor:
        cursor.execute("INSERT INTO trouble_effect (effect) VALUES (%s)", [command.effect])
    if runs <= command.times:
        _misbehave(command)
    return _behaved(command)


def _behaved(command: Misbehave) -> Behaved:
    event = Behaved(effect=command.effect)
    outbox.publish(event, stream=f"trouble-{uuid4()}", version=1)
    return event


def _count_this_run(command: Misbehave) -> int:
    path = RUNS / str(command.effect)
    with path.open("a") as file:
        file.write(f"{os.getpid()}\n")
    return len(path.read_text().splitlines())


def _misbehave(command: Misbehave) -> None:
    match command.how:
        case "transient":
            raise TransientError("the gateway of the tests is out of order")
        case "permanent":
            raise PermanentError("there is no such thing")
        case "unexpected":
            raise ZeroDivisionError("nobody thought of this")
        case "memory_error":
            raise MemoryError("no memory for that")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            os._exit(0)
        case "sleep":
            time.sleep(command.seconds)
        case other:
            raise AssertionError(f"nobody knows how to {other}")
