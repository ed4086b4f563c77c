"""PostgreSQL and RabbitMQ as services of docker-compose.yml, where a Docker engine really answers."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from launcher import ports
from launcher.errors import LauncherError
from launcher.programs import Finished, find, run, run_or_fail
from launcher.state import State

FILE = "docker-compose.yml"
USER = "makegood"
VHOST = "makegood"
ANSWER_TIMEOUT = 10
UP_TIMEOUT = 600


@dataclass(frozen=True)
class Engine:
    """`command` is how Compose is called; None where it is of no use, and `finding` says why."""

    command: tuple[str, ...] | None
    finding: str


@dataclass(frozen=True)
class ComposeSettings:
    command: list[str]
    project: str
    file: str
    environment: dict[str, str]
    port: int
    password: str
    vhosts: list[str]


class ComposeServer:
    """One service of the Compose file, on a loopback port; its volume outlives the container."""

    is_private = True

    def __init__(self, name: str, state: State, settings: ComposeSettings) -> None:
        self.name = name
        self.state = state
        self.settings = settings

    @classmethod
    def from_state(cls, name: str, state: State) -> "ComposeServer":
        return cls(name, state, ComposeSettings(**state.read().servers[name]["settings"]))

    def url(self, path: str = "makegood") -> str:
        scheme = "postgres" if self.name == "postgres" else "amqp"
        return (
            f"{scheme}://{USER}:{quote(self.settings.password)}@{ports.LOOPBACK}:{self.settings.port}/{path}"
        )

    def remember(self) -> None:
        with self.state.change() as record:
            record.servers[self.name] = {"source": "compose", "settings": asdict(self.settings)}

    def start(self) -> None:
        """Afterwards the service is healthy, as the Compose file's own check sees it."""
        self._compose("up", "-d", "--wait", self.name)
        for vhost in self.settings.vhosts:
            if vhost != VHOST:
                self._compose("exec", "-T", self.name, "rabbitmqctl", "add_vhost", vhost)
                rights = ["set_permissions", "-p", vhost, USER, ".*", ".*", ".*"]
                self._compose("exec", "-T", self.name, "rabbitmqctl", *rights)

    def stop(self) -> None:
        self._compose("stop", self.name)

    def kill(self) -> None:
        self._compose("kill", self.name)

    def restart(self) -> None:
        self.stop()
        self.start()

    def remove(self) -> None:
        """Remove the project's containers with their volumes: everything that was stored."""
        self._compose("down", "--volumes")

    def _compose(self, *arguments: str) -> Finished:
        return run_or_fail(
            [*self.settings.command, "-p", self.settings.project, "-f", self.settings.file, *arguments],
            environment={**os.environ, **self.settings.environment},
            timeout=UP_TIMEOUT,
            purpose=f"Docker Compose ({self.name})",
            advice="Mend what it says, or stop the Docker engine and run `make clean`, to do without it.",
        )


def find_engine(root: Path) -> Engine:
    """Whether Docker Compose can be used in `root`; the engine is asked, since a client proves nothing."""
    if not (root / FILE).exists():
        return Engine(None, f"there is no {FILE}")
    if find("docker") is None:
        return Engine(None, "Docker is not installed")
    try:
        answer = run(["docker", "info"], timeout=ANSWER_TIMEOUT)
    except LauncherError:
        return Engine(None, f"Docker's engine did not answer within {ANSWER_TIMEOUT} s")
    if answer.code != 0:
        return Engine(None, "Docker's engine does not answer")
    return _with_compose((["docker", "compose"], ["docker-compose"]))


def settings_for(
    name: str,
    *,
    engine: Engine,
    root: Path,
    project: str,
    port: int,
    password: str,
    environment: Mapping[str, str],
    vhosts: Sequence[str] = (),
) -> ComposeSettings:
    """`environment` is what the whole Compose file needs to be read, not only this service."""
    if engine.command is None:
        raise LauncherError(f"Docker Compose cannot be used: {engine.finding}.")
    return ComposeSettings(
        command=list(engine.command),
        project=project,
        file=str(root / FILE),
        environment=dict(environment),
        port=port,
        password=password,
        vhosts=list(vhosts),
    )


def _with_compose(candidates: Sequence[list[str]]) -> Engine:
    for command in candidates:
        if find(command[0]) and run([*command, "version"], timeout=ANSWER_TIMEOUT).code == 0:
            return Engine(tuple(command), "Docker's engine answers")
    return Engine(None, "Docker's engine answers but Compose is not installed")
