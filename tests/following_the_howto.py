"""Follows docs/howto/write-a-saga.md word by word, in a copy of the project."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from kombu import Connection

from launcher.processes import ORCHESTRATOR, RELAY, Process, process_table, worker
from messaging import topology
from tests.databases import Databases
from tests.running_shop import ROOT, RunningShop, wait_until

PAGE = ROOT / "docs" / "howto" / "write-a-saga.md"
SERVICES = ("orders", "inventory", "shipping")
_BLOCK = re.compile(
    r"(?:^(?P<what>New file|Add to|In) \*\*(?P<path>[\w/.]+)\*\*[^\n]*:\n\n)?"
    r"^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    flags=re.MULTILINE | re.DOTALL,
)
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".dev", ".*_cache", ".hypothesis", "__pycache__", "images", "test-results"
)


@dataclass(frozen=True)
class Block:
    """Something that the reader writes into a file, or runs."""

    section: str
    what: str
    path: str
    language: str
    text: str


def blocks() -> list[Block]:
    """All of the page, in its order."""
    found = []
    for part in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        section = part.split(".", 1)[0]
        for match in _BLOCK.finditer(part):
            given = {name: value or "" for name, value in match.groupdict().items()}
            found.append(Block(section=section, **given))
    return found


class Reader:
    """A newcomer with a copy of the project, who does what the page says and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "makegood"
        shutil.copytree(ROOT, self.root, ignore=_LEFT_OUT)
        (self.root / ".venv").symlink_to(ROOT / ".venv")

    def write(self, block: Block) -> None:
        path = self.root / block.path
        if block.what == "New file":
            assert not path.exists(), f"{block.path} is said to be new"
            path.write_text(block.text)
        elif block.what == "Add to":
            path.write_text(_added(path.read_text(), block.text))
        else:
            name, text = block.text.split(" = ", 1)[0], path.read_text()
            found = re.findall(rf"^{name} = (?:\(\n(?:    .*\n)+\)|.*)\n", text, flags=re.MULTILINE)
            assert len(found) == 1, f"{block.path} has {len(found)} lines {name} = …"
            lost = set(re.findall(r'"[^"]+"', found[0])) - set(re.findall(r'"[^"]+"', block.text))
            assert not lost, (
                f"{name} has {', '.join(sorted(lost))}, which {PAGE.name} leaves out: add it there"
            )
            path.write_text(text.replace(found[0], block.text))

    def run(self, script: str, environment: dict[str, str]) -> str:
        """Run the lines as a terminal would; returns what they print, and fails where one fails."""
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=self.root,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def _added(text: str, more: str) -> str:
    """The block at the end of the file, and its imports at the top, as the page asks."""
    head, imports, tail = [], [], []
    for line in more.splitlines(keepends=True):
        (imports if re.match(r"(from|import) ", line) else tail).append(line)
    lines = text.splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if re.match(r"(from|import) ", line))
    head, rest = lines[:first], lines[first:]
    return "".join([*head, *imports, *rest, "\n\n", *tail]).rstrip("\n") + "\n"


class ReadersShop(RunningShop):
    """The processes that a gift needs, of the reader's copy, on a virtual host and databases of their own."""

    def __init__(self, *, reader: Reader, databases: Databases, folder: Path, broker_url: str) -> None:
        self.reader = reader
        self.broker_url = broker_url
        self._databases = databases
        super().__init__(databases=databases, folder=folder, prefix="howto")
        self.use({**self.environment, "BROKER_URL": broker_url})

    def table(self, environment: dict[str, str]) -> list[Process]:
        table = process_table(
            self.reader.root,
            environment,
            web_port=self.web_port,
            flower_port=self._flower_port,
            gateway_port=self.gateway_port,
            gateway_books=self._books,
        )
        wanted = (RELAY, ORCHESTRATOR, *map(worker, SERVICES))
        return [
            replace(
                process, environment={**process.environment, "WORKER_CONCURRENCY": "1", "RELAY_POLL": "0.5"}
            )
            for process in table
            if process.name in wanted
        ]

    def follow(self, block: Block) -> str:
        """Do what the block is for; returns what is printed."""
        if block.language == "sh":
            return self.run(block.text)
        self.reader.write(block)
        return ""

    def run(self, script: str) -> str:
        return self.reader.run(script, self.environment)

    def start(self) -> None:
        self.run(".venv/bin/python manage.py declare_topology")
        with Connection(self.broker_url) as connection:
            for name in topology.services():
                connection.default_channel.queue_purge(name)
        self.processes.start()
        wait_until(self._is_consumed, what=f"a consumer of every queue (see {self.log_file})")

    def restart(self) -> None:
        """With the code as it is now."""
        self.processes.stop()
        self.processes.start()
        wait_until(self._is_consumed, what=f"a consumer of every queue (see {self.log_file})")

    def stop(self, *, grace: float = 1) -> None:
        super().stop(grace=grace)
        for name in self.names.values():
            self._databases.drop(name)

    def _is_consumed(self) -> bool:
        with Connection(self.broker_url) as connection:
            return all(
                connection.default_channel.queue_declare(name, passive=True).consumer_count
                for name in (*SERVICES, "sagas")
            )
