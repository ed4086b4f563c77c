"""One run: the shop is started, orders are placed, the nemesis does its worst, and at the end everything is counted."""

import os
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

from rich.progress import Progress

from chaos.broker import Broker, Route, queues_of
from chaos.databases import Databases
from chaos.errors import ChaosError, Stuck
from chaos.findings import Findings, read_json
from chaos.meddling import Echo
from chaos.nemesis import Nemesis
from chaos.plan import Action, Kind, plan
from chaos.report import Report
from chaos.verdict import repeated_mails, violations
from launcher import environment as environments
from launcher.instance import Instance
from launcher.interruption import wait_until
from launcher.ports import any_free
from launcher.processes import FLOWER, process_table
from launcher.programs import run
from launcher.readiness import wait_until_ready
from launcher.servers import Servers
from launcher.supervisor import Supervisor

INEVITABLE = {
    # So that each order's end follows from its card, goods and address alone, however long the nemesis holds it up;
    # and so that a message which is lost stays lost, instead of being sent again by its saga's deadline.
    "STEP_DEADLINE": "3600",
    "STEP_REPEAT_LONGEST": "3600",
    "RETRY_ATTEMPTS": "30",
    # A call that was cut off is repeated when its lease is over, which follows from this.
    "GATEWAY_TIMEOUT": "2",
}
PATIENCE = 240
"""Seconds without any progress after which none is expected any more."""
READY_WITHIN = 300
BREATH = 1.0
"""Seconds between two actions, also where many orders are finished at once: so that one meets what the other left."""
POLL = 0.3
LIBRARIES = ("Django", "celery", "kombu", "amqp")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """`rate` is how many orders are placed a second, at most; `copies` the share of messages that come twice.

    `fury` multiplies the number of the nemesis's actions.
    """

    orders: int
    seed: int
    rate: float
    copies: float
    fury: float


class Run:
    """A run in an instance whose servers serve and hold nothing yet."""

    def __init__(self, *, root: Path, instance: Instance, wanted: Wanted, progress: Progress) -> None:
        self.log_file = instance.directory / "shop.log"
        self._root = root
        self._instance = instance
        self._wanted = wanted
        self._progress = progress
        self._environment = {**environments.read(instance.env_file), **INEVITABLE}
        self._servers = Servers.from_state(instance.directory)
        self._broker = Broker(self._servers.rabbitmq)
        self._databases = Databases(self._environment)
        self._findings = Findings(
            databases=self._databases,
            broker=self._broker,
            gateway_url=self._environment["GATEWAY_URL"],
            emails=instance.directory / "emails",
        )
        self._finishing = progress.add_task("orders finished", total=wanted.orders)
        self._samples: list[tuple[float, int]] = []
        self._begun = 0.0
        self._last_progress = 0.0

    def carry_out(self) -> Report:
        """Everything, from the empty servers to the report. Raises LauncherError where the run could not go on."""
        self._manage("set_up", "--demonstration")
        web_port = any_free()
        table = process_table(
            self._root,
            self._environment,
            web_port=web_port,
            flower_port=any_free(),
            gateway_port=int(self._environment["GATEWAY_URL"].rpartition(":")[2]),
            gateway_books=self._instance.directory / "gateway.sqlite3",
        )
        with self.log_file.open("w") as log:
            processes = Supervisor(
                [process for process in table if process.name != FLOWER],  # It only watches.
                sink=_stamped(log),
                remember=self._instance.state.remember,
            )
            with processes:
                processes.start()
                wait_until_ready(web_port, timeout=READY_WITHIN)
                return self._with(processes)

    def _with(self, processes: Supervisor) -> Report:
        routes = self._broker.routes()
        actions = plan(
            seed=self._wanted.seed,
            orders=self._wanted.orders,
            processes=processes.names,
            queues=queues_of(routes),
            databases=self._databases.names,
            fury=self._wanted.fury,
        )
        nemesis = Nemesis(
            processes=processes,
            servers=self._servers,
            broker=self._broker,
            databases=self._databases,
            gateway_url=self._environment["GATEWAY_URL"],
        )
        echo = Echo(url=self._broker.url, routes=routes, share=self._wanted.copies, seed=self._wanted.seed)
        began = datetime.now(UTC)
        self._begun = self._last_progress = time.monotonic()
        unended: list[str] = []
        placing = self._place()
        try:
            echo.start()
            try:
                self._suffer(nemesis, actions)
                nemesis.mend()
                self._wait_for(self._wanted.orders, nemesis)
            except Stuck as stuck:
                unended.append(str(stuck))
                nemesis.mend()
            echo.stop()
            self._settle(unended)
            summary = self._end_of_placing(placing, unended)
        finally:
            _end(placing)
        return self._report(
            began=began,
            actions=actions,
            nemesis=nemesis,
            echo=echo,
            processes=processes,
            routes=routes,
            summary=summary,
            unended=unended,
        )

    def _suffer(self, nemesis: Nemesis, actions: Sequence[Action]) -> None:
        doing = self._progress.add_task("actions of the nemesis", total=len(actions))
        for action in actions:
            finished = self._wait_for(action.at, nemesis)
            self._progress.update(doing, description=str(action))
            nemesis.carry_out(action, finished_orders=finished)
            self._last_progress = time.monotonic()
            self._progress.advance(doing)
            wait_until(lambda: False, timeout=BREATH)
        self._progress.update(doing, description="the nemesis rests")

    def _wait_for(self, orders: int, nemesis: Nemesis) -> int:
        """Wait until so many orders are finished; returns how many are. Raises Stuck where none is any more."""
        finished = 0

        def are_finished() -> bool:
            nonlocal finished
            nemesis.tend()
            finished = self._look()
            if time.monotonic() - self._last_progress > PATIENCE:
                raise Stuck(
                    f"the next order of {self._wanted.orders - finished}: none was finished for {PATIENCE} s"
                )
            return finished >= orders

        wait_until(are_finished, timeout=float("inf"), every=POLL)
        return finished

    def _look(self) -> int:
        finished = self._findings.finished()
        now = time.monotonic()
        if not self._samples or finished > self._samples[-1][1]:
            self._last_progress = now
        self._samples.append((now - self._begun, finished))
        self._progress.update(self._finishing, completed=finished)
        return finished

    def _settle(self, unended: list[str]) -> None:
        """Wait until nothing is under way; as long as the number of what is changes, there is hope."""
        waiting: list[str] = []
        since = time.monotonic()
        patience = PATIENCE / 8 if unended else PATIENCE

        def is_at_rest() -> bool:
            nonlocal waiting, since
            before, waiting = waiting, self._findings.restless()
            if waiting != before:
                since = time.monotonic()
            return not waiting or time.monotonic() - since > patience

        wait_until(is_at_rest, timeout=float("inf"), every=1.0)
        unended.extend(f"rest: {sentence}" for sentence in waiting)

    def _place(self) -> subprocess.Popen[bytes]:
        wanted = self._wanted
        folder = self._instance.directory
        with (folder / "placing.json").open("wb") as out, (folder / "placing.log").open("wb") as err:
            return subprocess.Popen(
                [
                    *self._command("place_orders", "--json", "--mix", "realistic", "--wait", str(24 * 3600)),
                    *("--count", str(wanted.orders), "--seed", str(wanted.seed)),
                    *("--rate", str(wanted.rate)),
                ],
                cwd=self._root,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def _end_of_placing(self, placing: subprocess.Popen[bytes], unended: list[str]) -> dict[str, Any] | None:
        if not wait_until(lambda: placing.poll() is not None, timeout=0 if unended else 60):
            unended.append("place_orders to end")
            return None
        folder = self._instance.directory
        summary = read_json((folder / "placing.json").read_text())
        if summary is None:
            unended.append(
                f"the summary of place_orders, which ended with {placing.returncode}; "
                f"see {folder / 'placing.log'}"
            )
        return summary

    def _report(
        self,
        *,
        began: datetime,
        actions: Sequence[Action],
        nemesis: Nemesis,
        echo: Echo,
        processes: Supervisor,
        routes: Sequence[Route],
        summary: dict[str, Any] | None,
        unended: Sequence[str],
    ) -> Report:
        seconds = time.monotonic() - self._begun
        audit = self._audit()
        self._broker.note_redeliveries()
        found = self._findings.gather(
            wanted=self._wanted.orders, placing=summary, audit=audit, unended=unended
        )
        return Report(
            seed=self._wanted.seed,
            orders=self._wanted.orders,
            rate=self._wanted.rate,
            copies_share=self._wanted.copies,
            fury=self._wanted.fury,
            versions=self._versions(),
            began=began,
            seconds=round(seconds, 1),
            placing=summary,
            actions=nemesis.done,
            copies=asdict(echo.copies),
            held_back=sum(
                _messages(done.result) for done in nemesis.done if done.action.kind is Kind.HOLD_BACK
            ),
            redelivered=self._broker.redelivered,
            retries=self._findings.retries(),
            failures=self._findings.failures(),
            letters=found.letters,
            letters_ever=self._findings.letters_ever(),
            automatic_replays=self._findings.automatic_replays(),
            repeated_mails=repeated_mails(found.mails),
            restarts={name: processes.restarts(name) for name in processes.names},
            samples=self._samples,
            violations=violations(found),
        )

    def _audit(self) -> dict[str, Any]:
        finished = run(
            self._command("audit", "--json"),
            environment={**os.environ, **self._environment},
            directory=self._root,
        )
        found = read_json("\n".join(finished.lines))
        if found is None:
            raise ChaosError(f"`manage.py audit` ended with {finished.code} and no report:\n{finished.tail}")
        return found

    def _manage(self, *arguments: str) -> None:
        finished = run(
            self._command(*arguments), environment={**os.environ, **self._environment}, directory=self._root
        )
        if finished.code != 0:
            raise ChaosError(f"`manage.py {arguments[0]}` ended with {finished.code}:\n{finished.tail}")

    def _command(self, *arguments: str) -> list[str]:
        return [str(self._root / ".venv" / "bin" / "python"), "manage.py", *arguments]

    def _versions(self) -> dict[str, str]:
        return {
            "Python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
            "RabbitMQ": self._broker.version(),
            "PostgreSQL": self._findings.database_version(),
        }


def _stamped(log: TextIO) -> Any:
    """A sink for the processes' lines, each with the time, so that they can be laid beside the report."""

    def write(name: str, line: str) -> None:
        log.write(f"{datetime.now(UTC):%H:%M:%S.%f} {name} | {line}\n")
        log.flush()

    return write


def _messages(result: str) -> int:
    number = result.split()[0]
    return int(number) if number.isdigit() else 0


def _end(placing: subprocess.Popen[bytes]) -> None:
    if placing.poll() is None:
        placing.kill()
        placing.wait()
