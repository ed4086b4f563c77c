"""Where a server comes from, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from launcher.compose import Engine
from launcher.errors import LauncherError

Kind = Literal["external", "compose", "private"]


@dataclass(frozen=True)
class Source:
    kind: Kind
    reason: str


def choose_source(
    *, variable: str, environment: Mapping[str, str], remembered: str | None, engine: Engine
) -> Source:
    """Decide for one server: the URL given, else what holds its data already, else Compose, else private.

    Raises LauncherError when the data is in a Docker volume and Docker does not answer: starting with empty
    databases would look like a loss.
    """
    if environment.get(variable):
        return Source("external", f"{variable} is set; it is never started or stopped from here")
    if remembered == "private":
        return Source("private", "its data is here since the last time")
    if remembered == "compose":
        if engine.command is None:
            raise LauncherError(
                f"The data of the last time is in a Docker volume, but {engine.finding}. "
                "Start Docker, or remove .dev/ to begin anew without it."
            )
        return Source("compose", "its data is in a Docker volume since the last time")
    if engine.command is not None:
        return Source("compose", engine.finding)
    return Source("private", engine.finding)
