"""Whatever a handler does to itself or its process: its effect is there once, or not at all and a dead letter says why."""

from collections.abc import Iterator

import pytest

from messaging.topology import DELIVERY_LIMIT
from tests.faults.workshop import WORKER, Workshop
from tests.running_shop import wait_until

TIME_LIMIT = 4
SOFT_SHUTDOWN = 1.0

OWN = {"TROUBLE_TIME_LIMIT": str(TIME_LIMIT), "TROUBLE_SOFT_SHUTDOWN": str(SOFT_SHUTDOWN)}


@pytest.fixture(scope="module")
def opened(open_workshop) -> Iterator[Workshop]:
    with open_workshop("relay", WORKER, own={WORKER: OWN}) as workshop:
        yield workshop


@pytest.fixture
def workshop(opened: Workshop, django_db_blocker) -> Iterator[Workshop]:
    with django_db_blocker.unblock():
        opened.wait_for_consumer()
        opened.purge()
        yield opened


def test_a_handler_that_does_well_has_one_effect(workshop: Workshop) -> None:
    trouble = workshop.send("well", times=0)
    workshop.wait_for_effect(trouble)
    workshop.wait_until_idle()

    assert (workshop.runs(trouble), workshop.effects(trouble)) == (1, 1)
    assert workshop.failures(trouble) == []


@pytest.mark.parametrize("how", ["transient", "unexpected", "memory_error"])
def test_an_error_that_passes_is_tried_again_and_has_one_effect(workshop: Workshop, how: str) -> None:
    trouble = workshop.send(how, times=2)
    workshop.wait_for_effect(trouble)
    workshop.wait_until_idle()

    assert (workshop.runs(trouble), workshop.effects(trouble)) == (3, 1)
    assert [(failure.attempt, failure.next_attempt_at is None) for failure in workshop.failures(trouble)] == [
        (1, False),
        (2, False),
    ]


@pytest.mark.parametrize(
    ("how", "attempts", "said"),
    [
        ("transient", 3, "TransientError: the gateway of the tests is out of order"),
        ("unexpected", 3, "ZeroDivisionError: nobody thought of this"),
        ("memory_error", 3, "MemoryError: no memory for that"),
        ("permanent", 1, "PermanentError: there is no such thing"),
    ],
)
def test_when_no_attempt_is_left_it_is_a_dead_letter_without_effect(
    workshop: Workshop, how: str, attempts: int, said: str
) -> None:
    trouble = workshop.send(how)
    letter = workshop.dead_letter(trouble)

    assert (letter["attempt"] if attempts > 1 else 1) == attempts
    assert letter["x-death"][0]["reason"] == "rejected"
    failures = workshop.failures(trouble)
    assert [(failure.attempt, failure.exception) for failure in failures] == [
        (number, said) for number in range(1, attempts + 1)
    ]
    assert failures[-1].next_attempt_at is None
    assert "Traceback" in failures[-1].traceback
    assert (workshop.runs(trouble), workshop.effects(trouble)) == (attempts, 0)


@pytest.mark.parametrize("how", ["kill", "segfault", "exit", "sleep"])
def test_a_message_whose_process_dies_is_delivered_again_and_has_one_effect(
    workshop: Workshop, how: str
) -> None:
    """`sleep` is beyond the hard time limit: Celery kills the process."""
    neighbours = workshop.send_all([("well", 0, 0)] * 5)
    trouble = workshop.send(how, times=1, seconds=600)
    workshop.wait_for_effect(trouble, *neighbours)
    workshop.wait_until_idle()

    assert (workshop.runs(trouble), workshop.effects(trouble)) == (2, 1)
    assert {workshop.effects(neighbour) for neighbour in neighbours} == {1}
    assert workshop.take_dead("trouble") == []


@pytest.mark.parametrize("how", ["kill", "segfault"])
def test_a_poison_message_becomes_a_dead_letter_and_its_neighbours_are_handled_once(
    workshop: Workshop, how: str
) -> None:
    poison = workshop.send(how)
    neighbours = workshop.send_all([("well", 0, 0)] * 20)
    letter = workshop.dead_letter(poison, timeout=100)
    workshop.wait_for_effect(*neighbours)

    assert letter["x-death"][0]["reason"] == "delivery_limit"
    assert workshop.effects(poison) == 0
    assert workshop.runs(poison) <= DELIVERY_LIMIT + 1
    assert {workshop.effects(neighbour) for neighbour in neighbours} == {1}
    assert workshop.take_dead("trouble") == [], "its neighbours died with it"


def test_a_worker_killed_in_the_middle_leaves_its_message_to_the_next(workshop: Workshop) -> None:
    trouble = workshop.send("sleep", times=1, seconds=TIME_LIMIT / 2)
    wait_until(lambda: workshop.runs(trouble), what="the handler to begin")
    killed = workshop.processes.kill(WORKER)
    workshop.processes.wait_for_new(WORKER, after=killed)
    workshop.wait_for_effect(trouble)
    workshop.wait_until_idle()

    assert (workshop.runs(trouble), workshop.effects(trouble)) == (2, 1)


@pytest.mark.parametrize(("seconds", "runs"), [(SOFT_SHUTDOWN / 2, 1), (SOFT_SHUTDOWN + 2, 2)])
def test_a_soft_shutdown_lets_a_task_finish_or_gives_its_message_back(
    workshop: Workshop, seconds: float, runs: int
) -> None:
    trouble = workshop.send("sleep", times=1, seconds=seconds)
    wait_until(lambda: workshop.runs(trouble), what="the handler to begin")
    workshop.processes.stop(WORKER)
    workshop.processes.start(WORKER)
    workshop.wait_for_effect(trouble)
    workshop.wait_until_idle()

    assert (workshop.runs(trouble), workshop.effects(trouble)) == (runs, 1)
