"""Each system check finds what it is there for, and nothing in the settings as they are."""

import re
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery import Celery
from django.conf import settings
from django.core import checks as django_checks

from contracts.billing import RefundPayment
from messaging import checks, gauges, handling, metrics
from messaging.checks import RULES
from messaging.worker import serve

ROOT = Path(__file__).resolve().parents[3]
BROKEN = {
    "broker_transport_options": {},
    "task_acks_late": False,
    "task_acks_on_failure": True,
    "task_acks_on_timeout": None,
    "task_reject_on_worker_lost": None,
    "task_create_missing_queues": True,
    "worker_detect_quorum_queues": False,
    "broker_connection_max_retries": 100,
    "broker_channel_error_retry": False,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "task_time_limit": 1800,
    "task_ignore_result": False,
    "accept_content": ["json", "pickle"],
    "worker_pool": "gevent",
    "worker_soft_shutdown_timeout": 0.0,
}


def ids(found) -> list[str]:
    return [problem.id for problem in found]


def test_the_settings_as_they_are_break_no_rule():
    assert django_checks.run_checks(tags=["messaging"]) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.setting)
def test_a_setting_that_could_lose_messages_is_found(monkeypatch, rule):
    monkeypatch.setattr(settings, f"CELERY_{rule.setting.upper()}", BROKEN[rule.setting], raising=False)

    (problem,) = django_checks.run_checks(tags=["messaging"])

    assert problem.id == rule.id
    assert rule.setting.upper() in problem.msg
    assert problem.level == django_checks.ERROR


@pytest.mark.parametrize("pool", ["eventlet", "gevent", "threads"])
def test_an_unsafe_pool_is_found(monkeypatch, pool):
    monkeypatch.setattr(settings, "CELERY_WORKER_POOL", pool, raising=False)

    assert ids(django_checks.run_checks(tags=["messaging"])) == ["messaging.E014"]


def test_no_two_checks_have_the_same_id():
    assert len({rule.id for rule in RULES}) == len(RULES)


@pytest.fixture
def worker():
    app = Celery("checked", set_as_current=False)
    app.config_from_object("django.conf:settings", namespace="CELERY")
    app.conf.worker_consumer = "messaging.screening:ScreeningConsumer"
    return SimpleNamespace(app=app, pool_cls="prefork")


def test_a_worker_as_it_is_served_may_start(worker):
    worker.app.conf.broker_transport_options = {}

    assert checks.problems_of_worker(worker) == []
    checks.refuse_unsafe_worker(sender=worker)


def test_a_worker_is_refused_for_a_pool_given_on_its_command_line(worker):
    from celery.concurrency.thread import TaskPool

    worker.pool_cls = TaskPool

    with pytest.raises(SystemExit, match=r"cannot start(.|\n)*messaging\.E014"):
        checks.refuse_unsafe_worker(sender=worker)


def test_a_worker_is_refused_without_the_screen(worker):
    worker.app.conf.worker_consumer = "celery.worker.consumer:Consumer"

    assert ids(checks.problems_of_worker(worker)) == ["messaging.E016"]


def test_a_worker_is_refused_for_a_setting_of_its_own(worker):
    worker.app.conf.task_acks_late = False

    assert ids(checks.problems_of_worker(worker)) == ["messaging.E002"]


@pytest.fixture
def served(monkeypatch):
    """An application that is a worker of a service."""
    from celery import signals

    app = Celery("served", set_as_current=False)
    app.config_from_object("django.conf:settings", namespace="CELERY")
    before = list(signals.worker_init.receivers)
    monkeypatch.setattr("messaging.worker.name_sessions", lambda *_, **__: None)
    serve(app, "shipping")
    yield app
    signals.worker_init.receivers[:] = before


def test_workers_are_checked_when_they_start(served):
    from celery import signals

    kept = [receiver for _, receiver in signals.worker_init.receivers]
    receivers = [receiver() if isinstance(receiver, weakref.ref) else receiver for receiver in kept]
    assert checks.refuse_unsafe_worker in receivers


def test_a_worker_waits_for_no_confirm_and_not_for_ever_for_a_peer_that_hangs(served):
    options = served.conf.broker_transport_options

    assert not options["confirm_publish"]
    assert options["read_timeout"] > 0
    assert options["write_timeout"] > 0


def test_commands_without_sender_or_handler_are_told(monkeypatch):
    known = ids(checks.check_messages())
    assert "messaging.W023" not in known and "messaging.W024" not in known

    unsent = {service: types - {RefundPayment.wire_type} for service, types in handling._senders.items()}
    monkeypatch.setattr(handling, "_senders", unsent)
    refund = [problem for problem in checks.check_messages() if RefundPayment.wire_type in problem.msg]
    assert ids(refund) == ["messaging.W024"]

    monkeypatch.delitem(handling._handlers, ("billing", RefundPayment.wire_type))
    refund = [problem for problem in checks.check_messages() if RefundPayment.wire_type in problem.msg]
    assert ids(refund) == ["messaging.W023"]


def test_a_declared_sender_is_enough(monkeypatch):
    unsent = {service: types - {RefundPayment.wire_type} for service, types in handling._senders.items()}
    monkeypatch.setattr(handling, "_senders", unsent)
    handling.sends("operations", {RefundPayment.wire_type})

    assert not [problem for problem in checks.check_messages() if RefundPayment.wire_type in problem.msg]


def test_spans_that_cannot_be_made_are_told(monkeypatch):
    import sys

    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    assert checks.check_spans() == []
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    assert ids(checks.check_spans()) == ["messaging.W020"]


def test_access_is_checked_for_deployment(monkeypatch):
    monkeypatch.setattr(settings, "METRICS_TOKEN", "")
    monkeypatch.setattr(settings, "BROKER_URL", "amqp://guest:guest@127.0.0.1/")
    assert ids(checks.check_access()) == ["messaging.W021", "messaging.W022"]

    monkeypatch.setattr(settings, "METRICS_TOKEN", "a-token-of-enough-characters")
    monkeypatch.setattr(settings, "BROKER_URL", "amqp://shop:secret@127.0.0.1/")
    assert checks.check_access() == []


def test_the_published_table_has_every_check_and_every_figure():
    source = "".join(path.read_text() for path in (ROOT / "messaging").glob("*checks.py"))
    published = (ROOT / "docs" / "checks.md").read_text()
    assert set(re.findall(r"messaging\.[EWI]\d{3}", source)) == set(
        re.findall(r"messaging\.[EWI]\d{3}", published)
    )

    howto = (ROOT / "docs" / "howto.md").read_text()
    told = {gauge.name for gauge in gauges.gauges()}
    told |= {metric.name for metric in metrics.REGISTRY.collect() if metric.name.startswith("makegood_")}
    assert sorted(name for name in told if f"`{name}" not in howto) == []
