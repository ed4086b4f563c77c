"""A node of the cluster is killed and comes back while messages flow: none is lost, and no effect is there twice."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.servers import Servers
from messaging.models import OutboxMessage
from tests.cluster.nodes import Cluster, running_cluster
from tests.databases import Databases
from tests.faults.workshop import Workshop
from tests.running_shop import used_by_a_test, wait_until

MESSAGES = 1_500


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    servers = Servers.from_state(Path(os.environ["MAKEGOOD_ENV_FILE"]).parent)
    with running_cluster(like=servers.rabbitmq, folder=tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def workshop(cluster: Cluster, databases: Databases, committed: None, tmp_path: Path) -> Iterator[Workshop]:
    """A relay and a worker that know every node."""
    workshop = Workshop(databases=databases, folder=tmp_path, broker_url=cluster.url, prefix="clustered")
    with used_by_a_test(workshop):
        try:
            workshop.start()
            workshop.wait_for_consumer()
            yield workshop
        finally:
            workshop.stop()


def test_the_leader_of_the_queue_is_killed_while_messages_flow(cluster: Cluster, workshop: Workshop) -> None:
    troubles = workshop.send_all([("well", 0, 0.0)] * MESSAGES)
    wait_until(lambda: workshop.count_effects() > MESSAGES / 10, what="messages to flow")
    leader = cluster.leader_of("trouble")
    cluster.nodes[leader].kill()
    at_the_kill = workshop.count_effects()
    assert at_the_kill < MESSAGES, "all was over before the node was killed"
    wait_until(
        lambda: workshop.count_effects() > at_the_kill + MESSAGES / 10,
        what="messages to flow without the leader",
    )
    assert cluster.leader_of("trouble") != leader
    cluster.nodes[leader].start()
    workshop.wait_for_effect(*troubles, timeout=120)
    wait_until(lambda: not OutboxMessage.objects.exists(), what="the outbox to be empty")

    assert workshop.count_effects() == MESSAGES
    assert workshop.take_dead("trouble") == []
