"""Where RabbitMQ's programs come from: the machine, else its distribution's packages, unpacked."""

import shutil
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import LauncherError
from launcher.programs import find, run_or_fail

SERVER = "lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"
EPMD = "lib/erlang/erts-*/bin/epmd"
ADVICE = (
    "RabbitMQ cannot be had here. Type `apt-get install --no-install-recommends rabbitmq-server` as root, "
    "or name a broker: BROKER_URL=amqp://user:password@host:5672/vhost make up"
)


@dataclass(frozen=True)
class Distribution:
    """The programs' paths; `erlang_path` and `library_path` are empty for an installed package."""

    server: Path
    epmd: Path
    erlang_path: str = ""
    library_path: str = ""


def find_or_unpack(cache: Path, *, explain: Callable[[str], None]) -> Distribution:
    """The installed RabbitMQ, else the one unpacked in `cache`, downloaded now if need be."""
    installed = _installed()
    if installed is not None:
        return installed
    if not (cache / "complete").exists():
        explain("RabbitMQ is not installed; unpacking the distribution's packages, which needs no root")
        _download(cache)
        _unpack(cache)
    return _unpacked(cache)


def _installed() -> Distribution | None:
    # The programs in /usr/sbin are wrappers that insist on root or the user rabbitmq; this is what they wrap.
    server = _newest(Path("/usr"), SERVER)
    epmd = find("epmd") or _newest(Path("/usr"), EPMD)
    if server is None or epmd is None or find("erl") is None:
        return None
    return Distribution(server, Path(epmd))


def _download(cache: Path) -> None:
    """Fetch the packages that this machine lacks, with apt's state in `cache`: the machine's is root's."""
    if find("apt-get") is None or find("dpkg") is None:
        raise LauncherError(f"This machine has neither RabbitMQ nor apt-get to fetch it with. {ADVICE}")
    lists, archives = cache / "lists", cache / "archives"
    for directory in (lists / "partial", archives / "partial"):
        directory.mkdir(parents=True, exist_ok=True)
    apt = [
        "apt-get",
        "-q",
        *("-o", f"Dir::State::Lists={lists}"),
        *("-o", f"Dir::Cache={cache}"),
        *("-o", f"Dir::Cache::archives={archives}"),
        *("-o", "Debug::NoLocking=true"),
        *("-o", "APT::Sandbox::User="),
    ]
    run_or_fail([*apt, "update"], purpose="Reading the list of packages", advice=ADVICE)
    install = [*apt, "install", "--download-only", "--yes", "--no-install-recommends", "rabbitmq-server"]
    run_or_fail(install, purpose="Downloading RabbitMQ", advice=ADVICE)


def _unpack(cache: Path) -> None:
    root = cache / "root"
    if root.exists():
        shutil.rmtree(root)
    for package in sorted((cache / "archives").glob("*.deb")):
        run_or_fail(["dpkg", "-x", package, root], purpose=f"Unpacking {package.name}", advice=ADVICE)
    erlang = root / "usr/lib/erlang"
    if erlang.exists():
        emulator = _newest(root / "usr", "lib/erlang/erts-*/bin/erlexec")
        if emulator is None:
            raise LauncherError(f"The Erlang in {erlang} holds no erlexec. {ADVICE}")
        wrapper = cache / "bin" / "erl"
        wrapper.parent.mkdir(exist_ok=True)
        # The packaged one believes that Erlang is in /usr/lib/erlang.
        wrapper.write_text(
            "#!/bin/sh\n"
            f'export ROOTDIR="{erlang}" BINDIR="{emulator.parent}" EMU=beam PROGNAME=erl\n'
            'exec "$BINDIR/erlexec" "$@"\n'
        )
        wrapper.chmod(0o755)
    _unpacked(cache)
    (cache / "complete").touch()


def _unpacked(cache: Path) -> Distribution:
    root = cache / "root/usr"
    server = _newest(root, SERVER)
    epmd = _newest(root, EPMD) or find("epmd")
    if server is None or epmd is None:
        raise LauncherError(
            f"The packages unpacked in {cache} lack the server or epmd. Remove {cache}. {ADVICE}"
        )
    libraries = root / "lib" / (sysconfig.get_config_var("MULTIARCH") or "")
    path = str(cache / "bin") if (cache / "bin/erl").exists() else ""
    return Distribution(server, Path(epmd), erlang_path=path, library_path=str(libraries))


def _newest(root: Path, pattern: str) -> Path | None:
    found = sorted(root.glob(pattern))
    return found[-1] if found else None
