"""A private RabbitMQ node below the instance's directory, with an epmd of its own."""

import base64
import hashlib
import json
import os
import secrets
import signal
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from launcher import ports
from launcher.errors import LauncherError
from launcher.identity import end_group
from launcher.interruption import wait_until
from launcher.programs import last_lines, run, run_or_fail, spawn_server
from launcher.state import State, write_private

NAME = "rabbitmq"
EPMD = "epmd"
USER = "makegood"
VHOST = "makegood"
NODE = "makegood@localhost"
START_TIMEOUT = 120
PROBE_TIMEOUT = 60
STOP_GRACE = 40
CONTROL_TIMEOUT = 60
ROOT = Path(__file__).resolve().parent.parent
STARTED = b"Server startup complete"


@dataclass(frozen=True)
class RabbitmqSettings:
    """How the node is started; kept in the state file. `erlang_path`, if any, comes first on its PATH.

    `peers` are the names of all nodes of its cluster; those of one machine share the epmd of one of them.
    """

    server: str
    epmd: str
    erlang_path: str
    library_path: str
    directory: str
    port: int
    distribution_port: int
    epmd_port: int
    password: str
    cookie: str
    vhosts: list[str]
    node: str = NODE
    peers: tuple[str, ...] = ()
    has_epmd: bool = True


class PrivateRabbitmq:
    """The node of one instance; its ports and data stay the same over every stop, start and kill."""

    name = NAME
    is_private = True

    def __init__(self, state: State, settings: RabbitmqSettings) -> None:
        self.state = state
        self.settings = settings
        self.directory = Path(settings.directory)
        self.log = self.directory / "log" / f"{settings.node}.log"

    @classmethod
    def from_state(cls, state: State) -> "PrivateRabbitmq":
        return cls(state, RabbitmqSettings(**state.read().servers[NAME]["settings"]))

    def url(self, vhost: str = VHOST) -> str:
        return f"amqp://{USER}:{self.settings.password}@{ports.LOOPBACK}:{self.settings.port}/{vhost}"

    def remember(self) -> None:
        with self.state.change() as record:
            record.servers[NAME] = {"source": "private", "settings": asdict(self.settings)}

    def is_running(self) -> bool:
        return self.state.identity(NAME) is not None

    def start(self) -> None:
        """Afterwards a queue can be declared. A node that runs already is left alone."""
        self.boot()
        self.verify()

    def boot(self) -> None:
        """Start the node and wait until it says that it is complete (needs no virtualenv)."""
        if self.is_running():
            return
        self._write_configuration()
        self._start_epmd()
        output = self.directory / "output.log"
        already = self.log.stat().st_size if self.log.exists() else 0
        node = spawn_server([self.settings.server], environment=self._environment(), log=output)
        self.state.remember(NAME, node)
        if not wait_until(lambda: not node.is_alive() or self._has_started(already), timeout=START_TIMEOUT):
            self.kill()
            raise LauncherError(f"RabbitMQ was not ready after {START_TIMEOUT} s.\n{self._logs(output)}")
        if not node.is_alive():
            self.stop()
            raise LauncherError(f"RabbitMQ ended while starting.\n{self._logs(output)}")

    def verify(self) -> None:
        """Wait until a queue can be declared: a node greets clients before it can serve them."""
        probe = run(
            [ROOT / ".venv/bin/python", "-m", "launcher.broker_probe", self.url(), str(PROBE_TIMEOUT)],
            directory=ROOT,
            timeout=PROBE_TIMEOUT + 30,
        )
        if probe.code != 0:
            raise LauncherError(f"RabbitMQ runs but no queue could be declared.\n{probe.tail}")

    def stop(self) -> None:
        """Stop the node in good order, and its epmd."""
        self._end(NAME, with_signal=signal.SIGTERM, grace=STOP_GRACE)
        self._end(EPMD, with_signal=signal.SIGTERM, grace=5)

    def kill(self) -> None:
        """End the node with SIGKILL, as a crash would; its data stays as it is on disk."""
        self._end(NAME, with_signal=signal.SIGKILL, grace=10)
        self._end(EPMD, with_signal=signal.SIGTERM, grace=5)

    def restart(self) -> None:
        self.stop()
        self.start()

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` on the running node and return what it prints."""
        program = Path(self.settings.server).with_name("rabbitmqctl")
        finished = run_or_fail(
            [program, "--quiet", *arguments],
            environment=self._environment(),
            timeout=CONTROL_TIMEOUT,
            purpose="Controlling RabbitMQ",
            advice=f"See {self.log}.",
        )
        return "\n".join(finished.lines)

    def _end(self, name: str, *, with_signal: int, grace: float) -> None:
        identity = self.state.identity(name)
        if identity is not None:
            helpers = [
                grandchild for child in identity.children() for grandchild in [child, *child.children()]
            ]
            end_group(identity, with_signal=with_signal, grace=grace)
            # Erlang's port programs live in sessions of their own and end by themselves once a pipe closes.
            gone = wait_until(
                lambda: not any(helper.is_alive() for helper in helpers), timeout=5, is_interruptible=False
            )
            if not gone:
                for helper in helpers:
                    helper.signal(signal.SIGKILL)
        self.state.remember(name, None)

    def _start_epmd(self) -> None:
        """In the foreground and ours to end; Erlang would start a daemon that outlives everything."""
        if not self.settings.has_epmd or self.state.identity(EPMD) is not None:
            return
        port = self.settings.epmd_port
        log = self.directory / "epmd.log"
        argv = [self.settings.epmd, "-port", str(port), "-address", ports.LOOPBACK]
        epmd = spawn_server(argv, environment=self._environment(), log=log)
        self.state.remember(EPMD, epmd)
        if (
            not wait_until(lambda: not epmd.is_alive() or ports.is_answering(port), timeout=10)
            or not epmd.is_alive()
        ):
            raise LauncherError(f"epmd did not start on port {port}.\nThe end of {log}:\n{last_lines(log)}")

    def _has_started(self, already: int) -> bool:
        if not self.log.exists():
            return False
        with self.log.open("rb") as file:
            file.seek(already)
            return STARTED in file.read()

    def _logs(self, output: Path) -> str:
        return "\n".join(f"The end of {path}:\n{last_lines(path)}" for path in (output, self.log))

    def _write_configuration(self) -> None:
        for name in ("data", "log", "generated", "home"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        definitions = self.directory / "definitions.json"
        write_private(
            definitions, json.dumps(_definitions(self.settings.password, self.settings.vhosts), indent=2)
        )
        write_private(
            self.directory / "rabbitmq.conf",
            f"listeners.tcp.1 = {ports.LOOPBACK}:{self.settings.port}\n"
            f"load_definitions = {definitions}\n"
            "log.console = false\n" + _cluster_formation(self.settings.peers),
        )
        write_private(self.directory / "environment.conf", "")
        write_private(self.directory / "plugins", "[].\n")
        cookie = self.directory / "home" / ".erlang.cookie"
        write_private(cookie, self.settings.cookie)
        cookie.chmod(0o400)

    def _environment(self) -> dict[str, str]:
        """Everything that would otherwise be shared with, or taken from, a RabbitMQ of the machine."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RABBITMQ_", "ERL_")) and name not in ("HOME", "PATH", "LD_LIBRARY_PATH")
        }
        path = [self.settings.erlang_path, os.environ.get("PATH", os.defpath)]
        libraries = [self.settings.library_path, os.environ.get("LD_LIBRARY_PATH", "")]
        here = self.directory
        return {
            **inherited,
            "HOME": str(here / "home"),
            "PATH": ":".join(filter(None, path)),
            "LD_LIBRARY_PATH": ":".join(filter(None, libraries)),
            "ERL_EPMD_PORT": str(self.settings.epmd_port),
            "ERL_EPMD_ADDRESS": ports.LOOPBACK,
            "ERL_CRASH_DUMP": str(here / "log" / "erl_crash.dump"),
            "RABBITMQ_NODENAME": self.settings.node,
            "RABBITMQ_NODE_PORT": str(self.settings.port),
            "RABBITMQ_DIST_PORT": str(self.settings.distribution_port),
            "RABBITMQ_MNESIA_BASE": str(here / "data"),
            "RABBITMQ_LOG_BASE": str(here / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(here / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(here / "environment.conf"),
            "RABBITMQ_CONFIG_FILE": str(here / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(here / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(here / "advanced.config"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(here / "generated"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false "
                "+sbwt none +sbwtdcpu none +sbwtdio none"  # Idle schedulers must not spin on a small machine.
            ),
            # The start script then becomes the node itself: one pid, and SIGTERM stops it in good order.
            "RUNNING_UNDER_SYSTEMD": "1",
        }


def _cluster_formation(peers: Sequence[str]) -> str:
    if not peers:
        return ""
    return "cluster_formation.peer_discovery_backend = classic_config\n" + "".join(
        f"cluster_formation.classic_config.nodes.{number} = {peer}\n" for number, peer in enumerate(peers, 1)
    )


def _definitions(password: str, vhosts: Sequence[str]) -> dict[str, object]:
    """The user and the vhosts, loaded at every boot; nothing else is touched by it."""
    salt = secrets.token_bytes(4)
    digest = base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
    return {
        "users": [
            {
                "name": USER,
                "password_hash": digest,
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": "administrator",
            }
        ],
        "vhosts": [{"name": vhost} for vhost in vhosts],
        "permissions": [
            {"user": USER, "vhost": vhost, "configure": ".*", "write": ".*", "read": ".*"} for vhost in vhosts
        ],
    }
