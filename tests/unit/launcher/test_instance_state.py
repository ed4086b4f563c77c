import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from launcher import instance
from launcher.identity import ProcessIdentity
from launcher.state import State

ROOT = Path(__file__).resolve().parents[3]
COUNTING = """
import sys
from pathlib import Path
from launcher.state import State
state = State(Path(sys.argv[1]))
for _ in range(25):
    with state.change() as record:
        record.servers.setdefault("count", {"n": 0})["n"] += 1
"""


def test_what_is_remembered_is_found_by_another_command(tmp_path: Path):
    me = ProcessIdentity.of(os.getpid())

    State(tmp_path).remember("relay", me)

    assert State(tmp_path).identity("relay") == me
    assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600


def test_a_process_that_ended_is_not_found(tmp_path: Path):
    me = ProcessIdentity.of(os.getpid())
    assert me is not None

    State(tmp_path).remember("relay", ProcessIdentity(me.pid, me.started - 1))

    assert State(tmp_path).identity("relay") is None


def test_two_commands_at_once_lose_no_change(tmp_path: Path):
    both = [subprocess.Popen([sys.executable, "-c", COUNTING, str(tmp_path)], cwd=ROOT) for _ in range(2)]

    assert [each.wait(timeout=60) for each in both] == [0, 0]
    assert State(tmp_path).read().servers["count"]["n"] == 50


def test_an_instance_is_held_by_one_launcher_at_a_time(tmp_path: Path):
    with instance.up(tmp_path).held():
        with (
            pytest.raises(instance.Busy, match=f"pid {os.getpid()}.*make down"),
            instance.up(tmp_path).held(),
        ):
            raise AssertionError("held twice")
        with instance.test(tmp_path).held():
            assert instance.test(tmp_path).holder() is not None

    with instance.up(tmp_path).held():
        assert instance.up(tmp_path).holder() is not None
