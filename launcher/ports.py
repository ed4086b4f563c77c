"""Ports on the loopback address."""

import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from launcher.errors import UsageError

LOOPBACK = "127.0.0.1"
TRIED = 50


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # As servers do: TIME_WAIT is no obstacle.
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def is_answering(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def any_free() -> int:
    """A port that nobody listens on, chosen by the system."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


def several_free(count: int) -> list[int]:
    """So many different ports that nobody listens on."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [probe.getsockname()[1] for probe in probes]


def choose(
    variable: str, environment: Mapping[str, str], *, default: int, free: Callable[[int], bool] = is_free
) -> int:
    """The port given in `variable`, else the first free one from `default` on.

    Raises UsageError when a port was asked for and is taken, or is no port.
    """
    asked = environment.get(variable, "")
    if not asked:
        for port in range(default, default + TRIED):
            if free(port):
                return port
        raise UsageError(
            f"No port from {default} to {default + TRIED - 1} is free. Name one: {variable}=12345 make up"
        )
    if not asked.isascii() or not asked.isdigit() or not 0 < int(asked) < 65536:
        raise UsageError(f"{variable} is {asked!r}, which is no port. Give a number from 1 to 65535.")
    if not free(int(asked)):
        raise UsageError(
            f"{variable}={asked} is taken on {LOOPBACK}. "
            f"Give another port, or leave {variable} out for the next free one."
        )
    return int(asked)
