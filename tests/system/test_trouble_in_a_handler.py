"""Whatever a handler does to its process: its effect is there once, or not at all and a dead letter says why."""

import pytest

from tests.faults.workshop import WORKER, Workshop
from tests.running_shop import wait_until

POISON_LIMIT = 3
"""Deliveries after the first, set by a policy: the topology's own limit takes half a minute to be reached."""


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


def test_poison_messages_become_dead_letters_and_their_neighbours_are_handled_once(
    workshop: Workshop,
) -> None:
    with workshop.policy("trouble", {"delivery-limit": POISON_LIMIT}):
        poison = workshop.send_all([("kill", 99, 0), ("segfault", 99, 0), ("sleep", 99, 600)])
        neighbours = workshop.send_all([("well", 0, 0)] * 20)
        letters = workshop.dead_letters(*poison, timeout=100)
        workshop.wait_for_effect(*neighbours)

    assert [letter["x-death"][0]["reason"] for letter in letters] == ["delivery_limit"] * 3
    assert [workshop.effects(one) for one in poison] == [0] * 3
    assert max(workshop.runs(one) for one in poison) <= 2 * (POISON_LIMIT + 1), "it is tried without end"
    assert {workshop.effects(neighbour) for neighbour in neighbours} == {1}
    assert workshop.take_dead("trouble") == [], "its neighbours died with it"


def test_a_worker_killed_in_the_middle_leaves_its_message_to_the_next(workshop: Workshop) -> None:
    trouble = workshop.send("sleep", times=1, seconds=workshop.time_limit / 2)
    wait_until(lambda: workshop.runs(trouble), what="the handler to begin")
    killed = workshop.processes.kill(WORKER)
    workshop.processes.wait_for_new(WORKER, after=killed)
    workshop.wait_for_effect(trouble)
    workshop.wait_until_idle()

    assert (workshop.runs(trouble), workshop.effects(trouble)) == (2, 1)


@pytest.mark.parametrize(
    ("seconds", "runs"), [(Workshop.soft_shutdown / 2, 1), (Workshop.soft_shutdown + 1, 2)]
)
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
