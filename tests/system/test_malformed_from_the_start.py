"""Malformed messages that wait when their consumer starts: a consumer that is hardly up is where they do the most."""

from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Connection

from launcher.processes import ORCHESTRATOR
from messaging.envelope import new_message_id
from tests.builders import an_envelope, order_placed
from tests.faults.malformed import is_good_enough_for_sagas, malformed, publish
from tests.faults.workshop import WORKER, Workshop, a_row
from tests.running_shop import wait_until


def a_good_one(service: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Headers and payload."""
    if service == "sagas":
        message = order_placed()
        return an_envelope(message).to_headers(), message.to_payload()
    body = {"effect": str(new_message_id()), "how": "well", "times": 0, "seconds": 0}
    return a_row(message_id=new_message_id(), body=body).envelope.to_headers(), body


@pytest.fixture
def without_orchestrator(workshop: Workshop) -> Iterator[Workshop]:
    """It has a database of its own: on the suite's queues it would take other shops' messages for strangers."""
    yield workshop
    workshop.processes.stop(ORCHESTRATOR)


@pytest.mark.parametrize(("service", "process"), [("trouble", WORKER), ("sagas", ORCHESTRATOR)])
def test_malformed_messages_that_wait_at_the_start_become_dead_letters(
    without_orchestrator: Workshop, service: str, process: str
) -> None:
    workshop = without_orchestrator
    workshop.processes.stop(process)
    restarts = workshop.processes.restarts(process)
    cases = malformed(*a_good_one(service))
    if service == "sagas":
        cases = {name: case for name, case in cases.items() if not is_good_enough_for_sagas(name)}
    assert len(cases) >= 50
    with Connection(workshop.broker_url) as connection:
        for name, case in cases.items():
            publish(connection, service, name, case)
    workshop.processes.start(process)
    dead: list[str] = []

    def all_are_dead() -> bool:
        dead.extend(headers["x-case"] for headers in workshop.take_dead(service))
        return set(dead) >= cases.keys()

    try:
        wait_until(all_are_dead, what=f"every message to be a dead letter ({workshop.log_file})", timeout=60)
    except AssertionError as error:
        missing = sorted(cases.keys() - set(dead))
        raise AssertionError(f"lost or still waiting: {missing}; {workshop.queues()}") from error
    assert sorted(dead) == sorted(cases)
    assert workshop.processes.restarts(process) == restarts, "a message ended its consumer"
    if service == "trouble":
        workshop.wait_for_effect(workshop.send("well", times=0))
