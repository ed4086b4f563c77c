import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.errors import LauncherError
from launcher.identity import ProcessIdentity
from launcher.interruption import wait_until
from launcher.processes import Process
from launcher.supervisor import LONGEST_DELAY, SHORTEST_DELAY, Supervisor, describe_end, restart_delay

OBEDIENT = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b"bye\\n"), sys.exit(0)))
print("hello", flush=True)
while True:
    signal.pause()
"""
DEAF = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("hello", flush=True)
while True:
    signal.pause()
"""


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.lock = threading.Lock()

    def __call__(self, name: str, line: str) -> None:
        with self.lock:
            self.lines.append((name, line))

    def await_line(self, name: str, text: str, *, times: int = 1) -> None:
        found = wait_until(
            lambda: sum(who == name and text in line for who, line in list(self.lines)) >= times, timeout=20
        )
        assert found, f"{name} never wrote {text!r} {times} times: {self.lines}"


def a_process(name: str, code: str, *, stage: int = 0) -> Process:
    return Process(name, (sys.executable, "-c", code), {}, Path.cwd(), stage)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def shop(log: Log) -> Iterator[Supervisor]:
    table = (a_process("relay", OBEDIENT, stage=1), a_process("web", OBEDIENT, stage=0))
    with Supervisor(table, sink=log) as supervisor:
        yield supervisor


def test_the_delay_doubles_up_to_a_limit():
    delays = [restart_delay(failures) for failures in range(1, 100)]

    assert delays[0] == SHORTEST_DELAY
    assert delays[1] == 2 * SHORTEST_DELAY
    assert delays == sorted(delays)
    assert delays[-1] == LONGEST_DELAY


def test_an_end_is_told_in_words():
    assert describe_end(3) == "ended with exit code 3"
    assert describe_end(-9) == "was ended by SIGKILL"


def test_a_killed_process_is_started_again_and_that_is_said(shop: Supervisor, log: Log):
    shop.start()
    log.await_line("relay", "hello")

    old = shop.kill("relay")
    new = shop.wait_for_new("relay", after=old)

    assert new != old
    log.await_line("relay", "was ended by SIGKILL; starting it again in 0.5 s")
    log.await_line("relay", "hello", times=2)
    assert shop.restarts("relay") == 1
    assert shop.restarts("web") == 0


def test_stopping_goes_stage_by_stage_and_starts_nothing_again(shop: Supervisor, log: Log):
    shop.start()
    log.await_line("relay", "hello")
    log.await_line("web", "hello")

    shop.stop()

    assert [who for who, line in log.lines if line == "bye"] == ["web", "relay"]
    assert not shop.is_running("web")
    assert not shop.is_running("relay")


def test_one_process_is_stopped_and_started_while_the_others_run(shop: Supervisor, log: Log):
    shop.start()
    log.await_line("relay", "hello")
    web = shop.pid("web")

    shop.stop("relay")
    assert shop.pid("relay") is None
    shop.start("relay")

    log.await_line("relay", "hello", times=2)
    assert shop.pid("web") == web


def test_a_process_is_replaced_by_another_of_its_name_while_the_others_run(shop: Supervisor, log: Log):
    shop.start()
    log.await_line("relay", "hello")
    web = shop.pid("web")

    shop.replace(a_process("relay", OBEDIENT.replace("hello", "good day"), stage=1))

    log.await_line("relay", "good day")
    assert [line for who, line in log.lines if who == "relay"][:3] == ["hello", "bye", "good day"]
    assert shop.pid("web") == web


def test_a_killed_process_may_stay_down(shop: Supervisor, log: Log):
    shop.start("relay")
    log.await_line("relay", "hello")

    shop.kill("relay", stay_down=True)

    assert shop.pid("relay") is None
    with pytest.raises(LauncherError, match="relay does not run"):
        shop.kill("relay")


def test_a_stopped_process_is_ended_too(shop: Supervisor, log: Log):
    shop.start("relay")
    log.await_line("relay", "hello")
    shop.signal("relay", signal.SIGSTOP)

    shop.stop()

    assert ("relay", "bye") in log.lines


def test_a_process_that_will_not_end_is_killed_and_that_is_said(log: Log):
    remembered: list[ProcessIdentity | None] = []
    table = [a_process("deaf", DEAF)]
    with Supervisor(table, sink=log, remember=lambda name, who: remembered.append(who)) as shop:
        shop.start()
        log.await_line("deaf", "hello")

        shop.stop(grace=0.2)

    log.await_line("deaf", "did not end within its time; killing it")
    assert remembered[0] is not None and not remembered[0].is_alive()
    assert remembered[-1] is None


def test_a_name_that_does_not_exist_is_answered_with_those_that_do(shop: Supervisor):
    with pytest.raises(LauncherError, match="There are: relay, web"):
        shop.start("relais")
