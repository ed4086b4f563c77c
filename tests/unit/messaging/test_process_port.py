"""A background process answers on its port: whether it lives, whether it works, what it has done."""

import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from django.conf import settings

from launcher.ports import any_free, is_free
from messaging import metrics, vitality
from messaging.metrics import Outcome
from messaging.process_port import process_port

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def port(monkeypatch, eventually):
    number = any_free()
    monkeypatch.setattr(settings, "PROCESS_PORT", number)
    monkeypatch.setattr(settings, "METRICS_TOKEN", "")
    monkeypatch.setattr(settings, "IS_BEHIND_PROXY", False)
    with process_port(databases=[]):
        eventually(lambda: not is_free(number))
        yield number
    eventually(lambda: is_free(number))


def get(port: int, path: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_process_whose_loop_turns_is_alive_and_ready(port):
    with vitality.main_loop("relay of billing"):
        assert get(port, "/healthz") == (200, '{"status": "alive", "missing": []}')
        assert get(port, "/readyz")[0] == 200


def test_a_loop_that_does_not_turn_is_told(port, monkeypatch):
    monkeypatch.setattr(settings, "PROCESS_STALL", 0.0)
    with vitality.main_loop("relay of billing"):
        status, text = get(port, "/healthz")
        assert status == 503
        assert "the main loop of relay of billing has not turned" in text

        vitality.pause()
        assert get(port, "/healthz")[0] == 200
        vitality.go_on()

    assert get(port, "/healthz")[0] == 200


def test_another_thread_does_not_turn_the_loop_of_this_one():
    with vitality.main_loop("relay of billing"):
        before = vitality._turns[threading.get_ident()]
        other = threading.Thread(target=vitality.turned)
        other.start()
        other.join()
        assert vitality._turns == {threading.get_ident(): before}


def test_what_a_process_waits_for_keeps_it_alive_and_makes_it_unready(port):
    with vitality.main_loop("sagas"):
        vitality.waits("sagas", "the broker is away")
        assert get(port, "/healthz")[0] == 200
        status, text = get(port, "/readyz")
        assert (status, json.loads(text)["missing"]) == (503, ["sagas: the broker is away"])
        vitality.waits("sagas", None)
        assert get(port, "/readyz")[0] == 200


def test_a_process_tells_what_it_has_handled_without_unbounded_labels(port):
    metrics.message_handled("billing", "billing.capture_payment.v1", Outcome.HANDLED, 0.02)
    metrics.message_handled("billing", "made-up-by-somebody", Outcome.REJECTED, 0.02)

    status, text = get(port, "/metrics")

    assert status == 200
    assert 'type="billing.capture_payment.v1"' in text
    assert 'type="unknown"' in text
    assert "made-up" not in text


def test_metrics_are_refused_to_whoever_does_not_show_the_token(port, monkeypatch):
    monkeypatch.setattr(settings, "METRICS_TOKEN", "a-token-of-enough-characters")

    assert get(port, "/metrics")[0] == 403
    assert get(port, "/metrics", Authorization="Bearer a-token-of-enough-characters")[0] == 200
    assert get(port, "/healthz")[0] == 200


def test_any_other_address_is_refused(port):
    assert get(port, "/")[0] == 404


def test_without_a_port_nothing_is_opened(monkeypatch):
    monkeypatch.setattr(settings, "PROCESS_PORT", 0)
    before = threading.active_count()

    with process_port(databases=[]):
        assert threading.active_count() == before


def test_a_taken_port_is_tried_again_and_the_process_works_meanwhile(monkeypatch, eventually, caplog):
    from messaging import process_port as module

    monkeypatch.setattr(module, "_BETWEEN_TRIES", 0.05)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        number = other.getsockname()[1]
        monkeypatch.setattr(settings, "PROCESS_PORT", number)
        with process_port(databases=[]):
            eventually(lambda: "cannot be listened on" in caplog.text)
            other.close()
            eventually(lambda: not is_free(number))
            assert get(number, "/healthz")[0] == 200


PROGRAM = """
import os, signal, sys
import django
django.setup()
from django.conf import settings
settings.PROCESS_PORT = int(sys.argv[1])
from launcher.interruption import wait_until
from launcher.ports import is_free
from messaging import metrics
from messaging.process_port import open_port
open_port(databases=[])
assert wait_until(lambda: not is_free(settings.PROCESS_PORT), timeout=30, every=0.01)
child = os.fork()
if child == 0:
    metrics.message_redelivered("billing")
    signal.pause()
    os._exit(0)
print(child, flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_child_that_outlives_its_process_does_not_keep_the_port(eventually):
    number = any_free()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(number)],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": settings.SETTINGS_MODULE, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    child = int(process.stdout.readline())
    try:
        process.wait(timeout=30)
        eventually(lambda: is_free(number), timeout=5)
        os.kill(child, 0)
    finally:
        os.kill(child, 9)
        process.stdout.close()
