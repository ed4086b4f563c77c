"""PostgreSQL and RabbitMQ of one instance: chosen, prepared, and controlled, also from another process.

Tests do it so:

    servers = Servers.from_state(Path(".dev/test"))
    servers.rabbitmq.kill()
    servers.rabbitmq.start()
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from launcher import ports, postgres, rabbitmq, rabbitmq_distribution
from launcher.compose import ComposeServer, Engine, settings_for
from launcher.errors import LauncherError, NotPrivate
from launcher.instance import Instance
from launcher.postgres import PrivatePostgres
from launcher.rabbitmq import PrivateRabbitmq, RabbitmqSettings
from launcher.sources import Source, choose_source
from launcher.state import State

DATABASE_URL = "DATABASE_URL"
BROKER_URL = "BROKER_URL"
NAMED_SERVERS = (DATABASE_URL, BROKER_URL)
"""Variables by which a person names servers that run already."""


class Server(Protocol):
    """`is_private` says whether the launcher may start and stop it; where not, every verb raises NotPrivate.

    After `start` and `restart` the server serves, on the port and with the data it had before.
    """

    @property
    def name(self) -> str: ...
    @property
    def is_private(self) -> bool: ...
    def url(self) -> str: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def restart(self) -> None: ...
    def kill(self) -> None: ...


@dataclass(frozen=True)
class ExternalServer:
    """A server given by its URL. It belongs to someone else."""

    name: str
    address: str
    is_private: bool = False

    def url(self) -> str:
        return self.address

    def start(self) -> None:
        self._refuse("started")

    def stop(self) -> None:
        self._refuse("stopped")

    def restart(self) -> None:
        self._refuse("restarted")

    def kill(self) -> None:
        self._refuse("killed")

    def _refuse(self, verb: str) -> None:
        raise NotPrivate(f"{self.name} was given by its URL and is never {verb} from here.")


@dataclass(frozen=True)
class Servers:
    postgres: Server
    rabbitmq: Server

    @classmethod
    def from_state(cls, path: Path) -> "Servers":
        """The servers of a running instance; `path` is its folder or its state file.

        Raises LauncherError when nothing was started there.
        """
        state = State(path if path.is_dir() else path.parent)
        return cls(postgres=_restore(postgres.NAME, state), rabbitmq=_restore(rabbitmq.NAME, state))


def arrange_postgres(
    instance: Instance,
    environment: Mapping[str, str],
    engine: Engine,
    *,
    embedded_binaries: Callable[[], Path],
    explain: Callable[[str], None],
) -> Server:
    """Choose where PostgreSQL comes from, say so, and make it ready to be started."""
    source = _choose("PostgreSQL", postgres.NAME, DATABASE_URL, instance, environment, engine, explain)
    state = instance.state
    if source.kind == "external":
        return _external(postgres.NAME, environment[DATABASE_URL], state)
    if source.kind == "compose":
        return _composed(postgres.NAME, instance, engine)
    return postgres.prepare(
        state,
        password=instance.secrets().postgres_password,
        port=_port(state, postgres.NAME, "port"),
        embedded_binaries=embedded_binaries,
        explain=explain,
    )


def arrange_rabbitmq(
    instance: Instance, environment: Mapping[str, str], engine: Engine, *, explain: Callable[[str], None]
) -> Server:
    """Choose where RabbitMQ comes from, say so, and make it ready to be started."""
    source = _choose("RabbitMQ", rabbitmq.NAME, BROKER_URL, instance, environment, engine, explain)
    state = instance.state
    if source.kind == "external":
        return _external(rabbitmq.NAME, environment[BROKER_URL], state)
    if source.kind == "compose":
        return _composed(rabbitmq.NAME, instance, engine)
    programs = rabbitmq_distribution.find_or_unpack(instance.root / ".dev" / "rabbitmq-dist", explain=explain)
    secrets = instance.secrets()
    node = PrivateRabbitmq(
        state,
        RabbitmqSettings(
            server=str(programs.server),
            epmd=str(programs.epmd),
            erlang_path=programs.erlang_path,
            library_path=programs.library_path,
            directory=str(instance.directory / "rabbitmq"),
            port=_port(state, rabbitmq.NAME, "port"),
            distribution_port=_port(state, rabbitmq.NAME, "distribution_port"),
            epmd_port=_port(state, rabbitmq.NAME, "epmd_port"),
            password=secrets.rabbitmq_password,
            cookie=secrets.erlang_cookie,
            vhosts=list(instance.vhosts),
        ),
    )
    node.remember()
    return node


def _choose(
    title: str,
    name: str,
    variable: str,
    instance: Instance,
    environment: Mapping[str, str],
    engine: Engine,
    explain: Callable[[str], None],
) -> Source:
    remembered = instance.state.read().servers.get(name, {}).get("source")
    source = choose_source(variable=variable, environment=environment, remembered=remembered, engine=engine)
    explain(f"{title}: {source.kind} ({source.reason})")
    return source


def _external(name: str, url: str, state: State) -> ExternalServer:
    with state.change() as record:
        known = record.servers.get(name, {})
        # What holds data of ours is kept in mind, for the day when the URL is no longer given.
        record.servers[name] = {**known, "given_url": url}
    return ExternalServer(name, url)


def _composed(name: str, instance: Instance, engine: Engine) -> ComposeServer:
    secrets = instance.secrets()
    passwords = {postgres.NAME: secrets.postgres_password, rabbitmq.NAME: secrets.rabbitmq_password}
    all_ports = {each: _port(instance.state, each, "port") for each in passwords}
    environment = {"SECRET_KEY": secrets.secret_key}
    for each, password in passwords.items():
        environment[f"{each.upper()}_PASSWORD"] = password
        environment[f"{each.upper()}_PORT"] = str(all_ports[each])
    server = ComposeServer(
        name,
        instance.state,
        settings_for(
            name,
            engine=engine,
            root=instance.root,
            project=f"makegood-{instance.name}",
            port=all_ports[name],
            password=passwords[name],
            environment=environment,
            vhosts=instance.vhosts if name == rabbitmq.NAME else (),
        ),
    )
    server.remember()
    return server


def _port(state: State, server: str, which: str) -> int:
    """The port of the last time if it is still free, so that addresses stay; else another one."""
    known = state.read().servers.get(server, {}).get("settings", {}).get(which)
    return known if known is not None and ports.is_free(known) else ports.any_free()


def _restore(name: str, state: State) -> Server:
    known: dict[str, Any] | None = state.read().servers.get(name)
    if known is None:
        raise LauncherError(f"{state.path} knows no {name}. Start it first: make up, or make test")
    if "given_url" in known:
        return ExternalServer(name, known["given_url"])
    if known["source"] == "compose":
        return ComposeServer.from_state(name, state)
    return PrivatePostgres.from_state(state) if name == postgres.NAME else PrivateRabbitmq.from_state(state)
