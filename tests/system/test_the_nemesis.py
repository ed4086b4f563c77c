"""A short run of the nemesis, on servers of its own: what `make chaos` does at length."""

import json
import os
import subprocess
import sys
from pathlib import Path

from chaos.plan import OUTAGES, Kind

ROOT = Path(__file__).resolve().parents[2]
ORDERS, SEED, RATE = 150, 3, 5
LONGEST = 900
"""Seconds, on a machine that has much else to do."""


def test_whatever_fails_nothing_is_lost_nothing_happens_twice_and_nothing_gets_stuck():
    run = subprocess.run(
        [
            *(sys.executable, "-m", "launcher", "chaos"),
            *("--orders", str(ORDERS), "--seed", str(SEED), "--rate", str(RATE)),
        ],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )

    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-5000:]
    report = json.loads((ROOT / ".dev" / "chaos" / "report.json").read_text())
    assert report["violations"] == []
    done = {each["action"]["kind"] for each in report["actions"] if not each["result"].startswith("not done")}
    assert done >= set(Kind) - OUTAGES | {Kind.ALARM}
    assert {each["action"]["target"] for each in report["actions"]} >= {"rabbitmq", "postgres"}
    assert sum(report["copies"].values()) > 0
