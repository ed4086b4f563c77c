"""`/readyz` says what is missing for an order to be carried out."""

import pytest
from django.conf import settings
from django.test import Client

from messaging import topology
from operations import health
from tests.integration.admin.records import record_letter

pytestmark = pytest.mark.django_db


def test_a_shop_without_processes_names_each_queue_and_relay_that_is_missing(broker):
    found = health.look()

    assert found["status"] == "not ready"
    for service in topology.services():
        assert f"nobody consumes the queue {service}" in found["missing"]
        assert f"nobody consumes the queue {service}.dead" in found["missing"]
    for alias in set(settings.SERVICES.values()):
        assert f"no relay serves the database {alias}" in found["missing"]


def test_dead_letters_are_counted_collected_or_not_and_make_nothing_unready(broker, eventually):
    before = health.look()["dead_letters"]["billing"]
    missing = health.look()["missing"]
    record_letter(service="billing")
    broker.Producer().publish({}, exchange="dead-letters", routing_key="billing")

    eventually(lambda: health.look()["dead_letters"]["billing"] == before + 2)

    assert health.look()["missing"] == missing


def test_a_missing_queue_is_named_with_what_to_run(broker):
    broker.default_channel.queue_delete("shipping")
    try:
        assert any("no queue 'shipping'" in problem for problem in health.look()["missing"])
    finally:
        topology.declare(broker)


def test_a_broker_that_is_away_is_said_and_nothing_of_its_password(monkeypatch):
    monkeypatch.setattr(settings, "BROKER_URL", "amqp://makegood:secret@127.0.0.1:1/makegood")

    answer = Client().get("/readyz")

    assert answer.status_code == 503
    assert any("the broker does not answer" in problem for problem in answer.json()["missing"])
    assert b"secret" not in answer.content


def test_the_process_itself_is_alive_whatever_is_missing(monkeypatch):
    monkeypatch.setattr(settings, "BROKER_URL", "amqp://makegood:secret@127.0.0.1:1/makegood")

    assert Client().get("/healthz").status_code == 200
