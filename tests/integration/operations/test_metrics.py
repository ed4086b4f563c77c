"""`/metrics` of the web: what the databases and the broker hold, for whoever may know."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connections
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from messaging import gauges, topology
from messaging.models import CircuitBreaker, FailedAttempt, HeldBackMessage, IdempotencyKey, OutboxMessage
from sagas.models import SagaRecord, StepRecord

TOKEN = "a-token-of-enough-characters"


@pytest.fixture(autouse=True)
def direct(monkeypatch):
    monkeypatch.setattr(settings, "METRICS_TOKEN", "")
    monkeypatch.setattr(settings, "IS_BEHIND_PROXY", False)


def scrape(**headers) -> dict[tuple[str, tuple[str, ...]], float]:
    answer = Client().get("/metrics", **headers)
    assert answer.status_code == 200, answer.content
    return {
        (sample.name.removeprefix("makegood_"), tuple(sorted(sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


def a_row(**more: object) -> OutboxMessage:
    now = timezone.now()
    names = {
        "message_id": uuid4(),
        "service": "billing",
        "type": "billing.payment_captured.v1",
        "exchange": "events",
        "routing_key": "billing.payment_captured.v1",
        "headers": {},
        "body": {},
        "available_at": now,
        "created_at": now,
    }
    return OutboxMessage.objects.using(settings.SERVICES["billing"]).create(**{**names, **more})


@pytest.mark.django_db
def test_the_state_of_the_databases_is_told(broker_url):
    database, now = settings.SERVICES["billing"], timezone.now()
    a_row(available_at=now - timedelta(minutes=2))
    a_row(failures=3, available_at=now - timedelta(minutes=1))
    a_row(available_at=now + timedelta(hours=1), waits_for="payments")
    CircuitBreaker.objects.using(database).create(
        service="billing", gateway="payments", state="open", failures=7, opened_at=now, probe_at=now
    )
    for lease_until in (now - timedelta(seconds=1), now + timedelta(hours=1)):
        IdempotencyKey.objects.using(database).create(
            consumer="billing",
            key=str(uuid4()),
            state="started",
            message_id=uuid4(),
            type="billing.capture_payment.v1",
            lease_until=lease_until,
            claimed_at=now,
        )
    HeldBackMessage.objects.using(database).create(
        consumer="billing",
        stream=str(uuid4()),
        sequence=2,
        message_id=uuid4(),
        type="orders.order_placed.v1",
        headers={},
        body={},
        held_at=now - timedelta(seconds=30),
    )
    for attempt, failed_at, is_last in ((1, now, False), (2, now, True), (3, now - timedelta(hours=1), True)):
        FailedAttempt.objects.using(database).create(
            consumer="billing",
            message_id=uuid4(),
            attempt=attempt,
            type="billing.capture_payment.v1",
            exception="x",
            traceback="x",
            failed_at=failed_at,
            next_attempt_at=None if is_last else now,
        )

    found = scrape()

    assert found["database_up", (database,)] == 1
    assert found["outbox_due", ("billing",)] == 2
    assert 119 < found["outbox_oldest_due_seconds", ("billing",)] < 180
    assert found["outbox_refused", ("billing",)] == 1
    assert found["outbox_waiting_for_gateway", ("payments",)] == 1
    assert found["circuit_breaker_open", ("billing", "payments")] == 1
    assert found["circuit_breaker_failures", ("billing", "payments")] == 7
    assert found["gateway_calls_expired", ("billing",)] == 1
    assert found["held_back", ("billing",)] == 1
    assert 29 < found["held_back_oldest_seconds", ("billing",)] < 90
    assert found["attempts_failed_lately", ("billing",)] == 2
    assert found["attempts_given_up_lately", ("billing",)] == 1


@pytest.mark.django_db
def test_the_state_of_the_queues_is_told(broker_url):
    from kombu import Connection

    with Connection(broker_url) as connection, connection.channel() as channel:
        topology.declare(connection)
        for name in ("billing", "billing.dead"):
            channel.queue_purge(name)
        connection.Producer().publish({}, routing_key="billing.dead", exchange="")
        channel.queue_delete("shipping")

        found = scrape()
        topology.declare(connection)
        channel.queue_purge("billing.dead")

    assert found["broker_up", ()] == 1
    assert found["queue_messages", ("billing",)] == 0
    assert found["queue_consumers", ("billing",)] == 0
    assert found["queue_missing", ("shipping",)] == 1
    assert found["dead_letter_queue_messages", ("billing",)] == 1


def test_what_is_away_is_told_and_hides_nothing_else(committed, monkeypatch):
    monkeypatch.setattr(settings, "BROKER_URL", "amqp://guest@127.0.0.1:1//")
    parameters = connections["billing"].get_connection_params()
    monkeypatch.setattr(connections["billing"], "get_connection_params", lambda: {**parameters, "port": 1})
    connections["billing"].close()

    found = scrape()

    assert found["broker_up", ()] == 0
    assert found["database_up", ("billing",)] == 0
    assert found["database_up", ("orders",)] == 1
    assert not [name for name, _ in found if name.startswith("queue_")]


@pytest.mark.django_db
def test_a_scrape_asks_each_database_once(django_assert_num_queries, broker_url):
    for alias in sorted(set(settings.SERVICES.values())):
        with django_assert_num_queries(1, using=alias):
            gauges.read(alias)


@pytest.mark.django_db
def test_a_package_adds_its_own_gauge(monkeypatch, broker_url):
    monkeypatch.setattr(gauges, "_questions", list(gauges._questions))
    gauge = gauges.Gauge(name="makegood_letters_open", help="Open letters.", labels=("service",))
    gauges.register(gauges.Question(gauges=(gauge,), sql="SELECT ARRAY['billing'], 5", only_in="default"))

    assert scrape()["letters_open", ("billing",)] == 5


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),
        ({"REMOTE_ADDR": "::1"}, 200),
        ({"REMOTE_ADDR": "10.0.0.1"}, 403),
        ({"HTTP_X_FORWARDED_FOR": "127.0.0.1"}, 403),
        ({"HTTP_FORWARDED": "for=127.0.0.1"}, 403),
        ({"REMOTE_ADDR": ""}, 403),
    ],
)
@pytest.mark.django_db
def test_without_a_token_only_this_machine_may_ask(headers, expected, broker_url):
    assert Client().get("/metrics", **headers).status_code == expected


@pytest.mark.django_db
def test_behind_a_proxy_this_machine_is_nobody(monkeypatch):
    monkeypatch.setattr(settings, "IS_BEHIND_PROXY", True)

    assert Client().get("/metrics").status_code == 403


@pytest.mark.django_db
def test_with_a_token_only_who_shows_it_may_ask(monkeypatch, broker_url):
    monkeypatch.setattr(settings, "METRICS_TOKEN", TOKEN)
    client = Client()

    assert client.get("/metrics").status_code == 403
    assert client.get("/metrics", HTTP_AUTHORIZATION="Bearer wrong").status_code == 403
    assert client.get("/metrics", HTTP_AUTHORIZATION=f"Basic {TOKEN}").status_code == 403
    shown = client.get("/metrics", HTTP_AUTHORIZATION=f"Bearer {TOKEN}", REMOTE_ADDR="10.0.0.1")
    assert shown.status_code == 200
    assert client.post("/metrics", HTTP_AUTHORIZATION=f"Bearer {TOKEN}").status_code == 405


@pytest.mark.django_db
def test_every_question_about_a_great_table_is_answered_from_an_index():
    for question in gauges._questions:
        with connections[question.only_in or "billing"].cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("EXPLAIN " + question.sql, {"most": gauges.MOST})
            plan = "\n".join(line for (line,) in cursor.fetchall())
            if "messaging_circuitbreaker" not in plan:
                assert "Seq Scan" not in plan, plan


@pytest.mark.django_db
def test_steps_that_need_a_person_are_counted(broker_url):
    saga = SagaRecord.objects.create(
        id=uuid4(),
        name="checkout",
        version=1,
        business_key=str(uuid4()),
        correlation_id=str(uuid4()),
        status="running",
        data={},
        needs_a_person=True,
        started_at=timezone.now(),
    )
    before = scrape().get(("saga_steps_for_a_person", ("held",)), 0)
    StepRecord.objects.create(saga=saga, position=0, name="capture", status="held", letter_id=uuid4())

    assert scrape()["saga_steps_for_a_person", ("held",)] == before + 1
