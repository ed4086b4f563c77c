"""Carries a plan out, one action after the other, and notes what came of each."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from chaos import gateway
from chaos.broker import AWAY, Broker
from chaos.databases import Databases
from chaos.meddling import hold_back
from chaos.plan import Action, Kind
from launcher.errors import LauncherError
from launcher.identity import ProcessIdentity
from launcher.interruption import wait_until
from launcher.servers import Servers
from launcher.supervisor import Supervisor

PATIENCE = 120
"""Seconds that a process may take to be started again before the action that needs it is given up."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """An action that was carried out: when it was begun, how long it took, and what came of it."""

    action: Action
    at: datetime
    finished_orders: int
    seconds: float
    result: str


class Nemesis:
    """`processes` are ours to kill, `servers` ours to stop."""

    def __init__(
        self,
        *,
        processes: Supervisor,
        servers: Servers,
        broker: Broker,
        databases: Databases,
        gateway_url: str,
    ) -> None:
        self.done: list[Done] = []
        self._processes = processes
        self._servers = {"rabbitmq": servers.rabbitmq, "postgres": servers.postgres}
        self._broker = broker
        self._databases = databases
        self._gateway_url = gateway_url
        self._faults_end: float | None = None
        self._actions: dict[Kind, Callable[[Action], str]] = {
            Kind.KILL: self._kill,
            Kind.KILL_CHILD: self._kill_child,
            Kind.FREEZE: self._freeze,
            Kind.STOP_SERVER: self._take_down,
            Kind.KILL_SERVER: self._take_down,
            Kind.ALARM: self._alarm,
            Kind.GATEWAY_FAULTS: self._trouble_gateway,
            Kind.HOLD_BACK: self._hold_back,
            Kind.CUT_SESSIONS: self._cut_sessions,
            Kind.CUT_CONNECTIONS: self._cut_connections,
        }

    def carry_out(self, action: Action, *, finished_orders: int) -> Done:
        """Do it, and note it. What could not be done is noted too: the run goes on.

        Raises LauncherError where a server does not come back.
        """
        at, begun = datetime.now(UTC), time.monotonic()
        result = self._actions[action.kind](action)
        done = Done(
            action=action,
            at=at,
            finished_orders=finished_orders,
            seconds=round(time.monotonic() - begun, 2),
            result=result,
        )
        self.done.append(done)
        return done

    def tend(self) -> None:
        """End the gateway's faults when their time is over. To be called again and again."""
        if self._faults_end is not None and time.monotonic() >= self._faults_end:
            self._make_gateway_well()

    def mend(self) -> None:
        """Afterwards nothing is wrong by our doing."""
        self._broker.set_alarm(is_on=False)
        self._make_gateway_well()

    def _kill(self, action: Action) -> str:
        if not self._is_up(action.target):
            return "not done: it did not run"
        return f"pid {self._processes.kill(action.target)}"

    def _kill_child(self, action: Action) -> str:
        if not self._is_up(action.target):
            return "not done: it did not run"
        children: list[ProcessIdentity] = []

        def has_children() -> bool:
            # Asked each time: a worker that was killed a moment ago is soon another one.
            parent = ProcessIdentity.of(self._processes.pid(action.target) or 0)
            children[:] = parent.children() if parent is not None else []
            return bool(children)

        if not wait_until(has_children, timeout=PATIENCE / 4):
            return "not done: it has no children"
        child = sorted(children, key=lambda each: each.pid)[action.number % len(children)]
        return f"pid {child.pid}" if child.signal(signal.SIGKILL) else "not done: it had just ended"

    def _freeze(self, action: Action) -> str:
        if not self._is_up(action.target):
            return "not done: it did not run"
        pid = self._processes.pid(action.target)
        self._processes.signal(action.target, signal.SIGSTOP)
        try:
            _pass(action.seconds)
        finally:
            if self._processes.pid(action.target) == pid:
                self._processes.signal(action.target, signal.SIGCONT)
        return f"pid {pid}"

    def _take_down(self, action: Action) -> str:
        server = self._servers[action.target]
        if action.target == self._broker.server.name:
            self._broker.note_redeliveries()
        if action.kind is Kind.KILL_SERVER:
            server.kill()
        else:
            server.stop()
        away = time.monotonic()
        killed = [name for name in action.meanwhile if self._processes.is_running(name)]
        for name in killed:
            self._processes.kill(name)
        _pass(action.seconds)
        server.start()
        return f"away for {time.monotonic() - away:.1f} s" + (
            f", killed {', '.join(killed)}" if killed else ""
        )

    def _alarm(self, action: Action) -> str:
        self._broker.set_alarm(is_on=True)
        try:
            _pass(action.seconds)
        finally:
            self._broker.set_alarm(is_on=False)
        return "publishers were blocked"

    def _trouble_gateway(self, action: Action) -> str:
        try:
            gateway.set_faults(self._gateway_url, gateway.FAULTS)
        except OSError as error:
            return f"not done: {error}"
        self._faults_end = time.monotonic() + action.seconds
        return ", ".join(f"{name} {value:g}" for name, value in gateway.FAULTS.items())

    def _hold_back(self, action: Action) -> str:
        try:
            held = hold_back(
                self._broker.url, action.target, most=action.number, seconds=action.seconds, wait=_pass
            )
        except AWAY as error:
            return f"broken off: {type(error).__name__}"
        return f"{held} messages"

    def _cut_sessions(self, action: Action) -> str:
        return f"{self._databases.cut_sessions(action.target)} sessions"

    def _cut_connections(self, action: Action) -> str:
        self._broker.cut_connections()
        return "all of them"

    def _make_gateway_well(self) -> None:
        def is_well() -> bool:
            try:
                gateway.set_faults(self._gateway_url, {})
            except OSError:
                return False
            return True

        if not wait_until(is_well, timeout=PATIENCE, every=0.5):
            raise LauncherError(f"The gateway did not come back within {PATIENCE} s.")
        self._faults_end = None

    def _is_up(self, name: str) -> bool:
        """Whether it runs; one that is just being started again is waited for."""
        return wait_until(lambda: self._processes.is_running(name), timeout=PATIENCE)


def _pass(seconds: float) -> None:
    """Let time pass; raises Interrupted when the run is to end."""
    wait_until(lambda: False, timeout=seconds)
