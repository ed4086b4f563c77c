import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from launcher.identity import ProcessIdentity, end_group
from launcher.interruption import wait_until

WAITING = "import signal; print('up', flush=True); signal.pause()"
DEAF_WITH_CHILD = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"
child = subprocess.Popen([sys.executable, "-c", deaf])
print(child.pid, flush=True)
signal.pause()
"""


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", WAITING], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as started:
        yield started
        started.kill()


def test_a_process_is_known_by_its_pid_and_its_start(process: subprocess.Popen[str]):
    identity = ProcessIdentity.of(process.pid)

    assert identity is not None
    assert identity.is_alive()


def test_another_process_with_the_same_pid_is_not_touched(process: subprocess.Popen[str]):
    real = ProcessIdentity.of(process.pid)
    assert real is not None
    earlier = ProcessIdentity(process.pid, real.started - 1)

    assert not earlier.is_alive()
    assert not earlier.signal(signal.SIGKILL)
    assert earlier.group() == []
    end_group(earlier, grace=0)
    assert process.poll() is None


def test_a_process_that_ended_is_not_alive_even_before_it_is_waited_for(process: subprocess.Popen[str]):
    identity = ProcessIdentity.of(process.pid)
    assert identity is not None

    process.send_signal(signal.SIGKILL)

    assert wait_until(lambda: not identity.is_alive(), timeout=10)
    assert process.wait() == -signal.SIGKILL


def test_ending_a_group_leaves_nothing_of_it_behind():
    with subprocess.Popen(
        [sys.executable, "-c", DEAF_WITH_CHILD], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as parent:
        assert parent.stdout is not None
        child = ProcessIdentity.of(int(parent.stdout.readline()))
        leader = ProcessIdentity.of(parent.pid)
        assert child is not None and leader is not None

        end_group(leader, grace=0.2)

        assert not leader.is_alive()
        assert wait_until(lambda: not child.is_alive(), timeout=10)
