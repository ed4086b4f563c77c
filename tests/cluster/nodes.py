"""Three RabbitMQ nodes on this machine, in one cluster."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from launcher import ports
from launcher.rabbitmq import PrivateRabbitmq
from launcher.state import State

NAMES = ("one@localhost", "two@localhost", "three@localhost")
VHOST = "makegood"


class Cluster:
    """The nodes, by name. The first one's epmd serves all, and goes on when that node is killed."""

    def __init__(self, *, like: PrivateRabbitmq, folder: Path) -> None:
        epmd_port, cookie, password = ports.any_free(), secrets.token_hex(24), secrets.token_hex(24)
        self.nodes = {
            name: _Node(
                State(folder / name),
                replace(
                    like.settings,
                    directory=str(folder / name / "rabbitmq"),
                    port=ports.any_free(),
                    distribution_port=ports.any_free(),
                    epmd_port=epmd_port,
                    password=password,
                    cookie=cookie,
                    vhosts=[VHOST],
                    node=name,
                    peers=NAMES,
                    has_epmd=name == NAMES[0],
                ),
            )
            for name in NAMES
        }

    @property
    def url(self) -> str:
        """Every node's address, as BROKER_URL takes several."""
        return ";".join(node.url(VHOST) for node in self.nodes.values())

    def start(self) -> None:
        """Afterwards the nodes are one cluster, and a queue can be declared on each."""
        self.nodes[NAMES[0]].start_epmd()
        with ThreadPoolExecutor() as pool:
            list(pool.map(PrivateRabbitmq.start, self.nodes.values()))

    def stop(self) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(PrivateRabbitmq.kill, self.nodes.values()))
        self.nodes[NAMES[0]].end_epmd()

    def leader_of(self, queue: str, *, asking: str | None = None) -> str:
        """The node that leads the queue now."""
        node = self.nodes[asking or self.running()[0]]
        for line in node.control("list_queues", "-p", VHOST, "name", "leader").splitlines():
            name, _, leader = line.partition("\t")
            if name == queue:
                return leader.strip()
        raise AssertionError(f"the cluster has no queue {queue!r}")

    def running(self) -> list[str]:
        return [name for name, node in self.nodes.items() if node.is_running()]

    def members(self) -> str:
        return self.nodes[self.running()[0]].control("cluster_status")


class _Node(PrivateRabbitmq):
    """A node whose epmd outlives it, because its neighbours need it."""

    def start_epmd(self) -> None:
        self._write_configuration()
        self._start_epmd()

    def end_epmd(self) -> None:
        super()._end("epmd", with_signal=15, grace=5)

    def _end(self, name: str, *, with_signal: int, grace: float) -> None:
        if name != "epmd":
            super()._end(name, with_signal=with_signal, grace=grace)


@contextmanager
def running_cluster(*, like: PrivateRabbitmq, folder: Path) -> Iterator[Cluster]:
    """Three nodes; `like` is a node of this machine, for the programs to be used."""
    cluster = Cluster(like=like, folder=folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
