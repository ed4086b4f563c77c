"""A dry run says what a handler would do, does none of it, and holds nobody up."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client
from django.urls import reverse
from pytest_django.asserts import assertContains

from billing.models import Payment
from contracts.billing import FindAuthorization, PaymentCaptured, VoidPayment
from deadletters.rehearsals import dry_runs
from deadletters.rehearsals.dry_runs import dry_run
from inventory import services as inventory
from launcher import environment as environments
from messaging import idempotency
from messaging.consumer import consume
from messaging.envelope import utc_now
from messaging.handling import GatewayHandler, handlers_of
from messaging.models import CircuitBreaker, IdempotencyKey, KeyRetention
from orders.catalogue import load_catalogue
from tests.builders import EUR_25, a_delivery, an_envelope, authorize_payment, reserve_stock
from tests.databases import ROOT, Databases, connected_to
from tests.integration.deadletters.rehearsed import KINDS, Kind, Story, a_letter, nothing_happens
from tests.integration.messaging.ordered_consumer import a_stream, an_event

pytestmark = pytest.mark.usefixtures("committed")
ONE_DATABASE = "dry_runs_in_one_database"


@pytest.fixture(scope="module")
def one_database(databases: Databases, django_db_setup: None, django_db_blocker) -> Iterator[str]:
    """A database that all services share."""
    given = environments.read(Path(os.environ["MAKEGOOD_ENV_FILE"]))
    own = dict.fromkeys((name for name in given if name.endswith("_DATABASE_URL")), "")
    url = urlsplit(given["DATABASE_URL"])._replace(path=f"/{ONE_DATABASE}").geturl()
    with django_db_blocker.unblock():
        databases.drop(ONE_DATABASE)
        subprocess.run(
            [sys.executable, "manage.py", "migrate_services"],
            cwd=ROOT,
            env={**os.environ, **given, **own, "DATABASE_URL": url},
            check=True,
            capture_output=True,
        )
        yield ONE_DATABASE
        databases.drop(ONE_DATABASE)


@pytest.fixture(params=["a database each", "one database"])
def layout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The services with databases of their own, and with one that they share."""
    if request.param == "a database each":
        yield
        return
    name = request.getfixturevalue("one_database")
    with connected_to({"default": name}):
        monkeypatch.setattr(settings, "SERVICES", dict.fromkeys(settings.SERVICES, "default"))
        load_catalogue()
        inventory.receive("mug", 10)
        yield


def test_there_is_a_dry_run_of_every_handler():
    story_kinds = {(kind.service, kind.message(Story()).wire_type) for kind in KINDS.values()}
    handled = {
        (service, wire_type)
        for service in settings.SERVICES
        for wire_type, handler in handlers_of(service).items()
        if handler.message_type.__module__.startswith("contracts.")
    }

    assert handled == story_kinds


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_dry_run_tells_what_a_handler_would_do_and_leaves_everything_as_it_was(
    layout: None, kind: Kind, gateway, monkeypatch
):
    letter = kind.letter()
    gateway.calls.clear()

    with nothing_happens(monkeypatch):
        run = dry_run(letter.id)

    assert run.would_succeed, (run.verdict, run.traceback)
    assert run.verdict.startswith("It would succeed now")
    assert (run.letter_id, run.service, run.type) == (letter.id, letter.service, letter.type)
    assert {told.type for told in run.told} >= set(kind.tells)
    assert {write.table for write in run.writes} >= set(kind.writes)
    assert not {write.table for write in run.writes} & {"messaging_outboxmessage", "messaging_idempotencykey"}
    assert [call.gateway for call in run.gateway_calls] == ([kind.asks] if kind.asks else [])
    assert (gateway.calls, getattr(mail, "outbox", [])) == ([], [])
    letter.refresh_from_db()
    assert letter.state == "open"


def test_the_reply_is_told_with_the_assumed_answer(gateway):
    run = dry_run(KINDS["authorize"].letter().id)

    (call,) = run.gateway_calls
    assert call.request["token"] == "tok_visa"
    assert call.answer == "authorized (authorization: rehearsed)"
    (reply,) = [told for told in run.told if told.is_reply]
    assert (reply.type, reply.to) == ("billing.payment_authorized.v1", "events billing.payment_authorized.v1")
    assert reply.body["authorization"] == "rehearsed"
    assert run.verdict == (
        "It would succeed now, if the payment gateway answers as is assumed: "
        "it would change 2 rows and send 1 message."
    )


def test_a_business_refusal_is_a_success_and_told(gateway):
    run = dry_run(a_letter("inventory", reserve_stock(uuid4(), sku="lamp")).id)

    assert run.would_succeed
    assert [told.type for told in run.told if told.is_reply] == ["inventory.stock_unavailable.v1"]


def test_an_event_without_subscriber_is_told_as_kept_in_the_event_store(gateway):
    run = dry_run(KINDS["sell reserved stock"].letter().id)

    assert [told.to for told in run.told if told.type == "inventory.stock_sold.v1"] == [
        "the event store alone"
    ]


def test_a_message_that_was_handled_would_only_be_answered(monkeypatch):
    command = reserve_stock(uuid4())
    envelope = an_envelope(command, key=Story().key("reserve"))
    consume("inventory", a_delivery(command, envelope))
    letter = a_letter("inventory", command, envelope=envelope)

    with nothing_happens(monkeypatch):
        run = dry_run(letter.id)

    assert run.would_succeed
    assert run.verdict.startswith("Nothing would be done again: it was handled on ")
    assert run.writes == []
    assert [(told.type, told.is_reply) for told in run.told] == [("inventory.stock_reserved.v1", True)]


def test_a_question_that_was_answered_would_only_be_answered_again(gateway, monkeypatch):
    story = Story()
    story.authorized()
    question = FindAuthorization(order_id=story.order_id, total=EUR_25)
    key = idempotency.question_key(saga_id=story.saga_id, step="authorize", step_try=1, number=1)
    envelope = an_envelope(question, key=key)
    consume("billing", a_delivery(question, envelope))
    letter = a_letter("billing", question, envelope=envelope)

    with nothing_happens(monkeypatch):
        run = dry_run(letter.id)

    assert run.verdict.startswith("Nothing would be done again: it was handled on ")
    assert [(told.type, told.is_reply) for told in run.told] == [("billing.payment_authorized.v1", True)]


def test_an_action_that_was_undone_before_it_came_is_said_to_be(gateway):
    story = Story()
    story.hand("billing", VoidPayment(order_id=story.order_id), key=story.key("authorize", undo=True))
    letter = a_letter("billing", authorize_payment(story.order_id), key=story.key("authorize"))

    run = dry_run(letter.id)

    assert run.would_succeed
    assert "billing.void_payment.v1 has undone it" in run.verdict


def test_a_call_that_is_under_way_is_waited_for_and_one_that_was_left_is_taken_over(gateway, monkeypatch):
    story = Story()
    key = story.key("authorize")
    letter = a_letter("billing", authorize_payment(story.order_id), key=key)
    started = IdempotencyKey.objects.using(settings.SERVICES["billing"]).create(
        consumer="billing",
        key=key,
        state="started",
        message_id=letter.message_id,
        type=letter.type,
        request={"token": "tok_first", "amount": 1, "currency": "EUR", "reference": "first"},
        lease_until=utc_now() + timedelta(minutes=1),
        fence=1,
        claimed_at=utc_now(),
    )

    with nothing_happens(monkeypatch):
        under_way = dry_run(letter.id)
    started.lease_until = utc_now() - timedelta(minutes=1)
    started.save(using=settings.SERVICES["billing"])
    with nothing_happens(monkeypatch):
        left = dry_run(letter.id)

    assert not under_way.would_succeed
    assert under_way.verdict.startswith("It would wait: another delivery is asking the gateway until ")
    assert left.would_succeed
    assert left.gateway_calls[0].request["token"] == "tok_first"


def test_an_open_breaker_is_neither_asked_nor_told_but_said(gateway, monkeypatch):
    letter = KINDS["ship"].letter()
    name = f"carrier {uuid4().hex}"
    declared = handlers_of("shipping")[letter.type]
    monkeypatch.setitem(handlers_of("shipping"), letter.type, msgspec.structs.replace(declared, gateway=name))
    CircuitBreaker.objects.using(settings.SERVICES["shipping"]).create(
        service="shipping", gateway=name, state="open", opened_at=utc_now(), probe_at=utc_now()
    )

    with nothing_happens(monkeypatch):
        run = dry_run(letter.id)

    assert run.would_succeed
    assert run.verdict.endswith(f"; but the {name} is left alone at present, so it would wait first.")


def test_without_an_assumed_answer_it_ends_before_the_call(monkeypatch):
    letter = KINDS["ship"].letter()
    declared = handlers_of("shipping")[letter.type]
    assert isinstance(declared, GatewayHandler)
    monkeypatch.setitem(
        handlers_of("shipping"), letter.type, msgspec.structs.replace(declared, rehearse=None)
    )

    with nothing_happens(monkeypatch):
        run = dry_run(letter.id)

    assert not run.would_succeed
    assert run.exception == ""
    assert run.verdict == (
        "It would come as far as its call to the carrier; what follows is not known, for no answer is assumed."
    )
    assert [call.gateway for call in run.gateway_calls] == ["carrier"]


def test_a_message_older_than_the_keys_is_said_to_be(gateway):
    database = settings.SERVICES["shipping"]
    letter = a_letter("shipping", Story().shipment(), occurred_at=utc_now() - timedelta(days=40))
    KeyRetention.objects.using(database).create(
        service="shipping", keys_kept_since=utc_now() - timedelta(days=30), raised_at=utc_now()
    )
    try:
        run = dry_run(letter.id)
    finally:
        KeyRetention.objects.using(database).filter(service="shipping").delete()

    assert run.would_succeed
    assert "it is older than the keys that shipping keeps, so it may have been handled before" in run.verdict


def test_an_ordered_event_is_told_its_turn(committed, monkeypatch):
    from tests.integration.messaging.ordered_consumer import OrderedConsumer, deliver

    OrderedConsumer(monkeypatch)
    stream = a_stream()
    deliver(an_event(stream, 1))

    def rehearsed(sequence: int):
        delivery = an_event(stream, sequence)
        body = msgspec.json.encode([[delivery.payload], {}, {}])
        letter = a_letter("notifications", headers=delivery.headers, body=body)
        with nothing_happens(monkeypatch):
            return dry_run(letter.id)

    seen, turn, early = rehearsed(1), rehearsed(2), rehearsed(4)

    assert (seen.would_succeed, turn.would_succeed, early.would_succeed) == (True, True, False)
    assert seen.verdict == (
        f"Nothing would be done again: notifications has passed number 1 of {stream} already. "
        "Its letter would be closed."
    )
    assert turn.writes == [dry_runs.Write(table="handled_in_order", operation="INSERT", rows=1)]
    assert early.verdict == f"It would wait: it is number 4 of {stream}, and number 2 is still missing."


def test_an_assumed_answer_is_declared_for_every_call():
    asking = [
        handler
        for service in settings.SERVICES
        for handler in handlers_of(service).values()
        if isinstance(handler, GatewayHandler)
    ]

    assert len(asking) >= 8
    assert [handler.message_type.wire_type for handler in asking if handler.rehearse is None] == []


def test_a_payment_is_rehearsed_as_it_is_and_stays(gateway):
    story = Story()
    story.authorized()
    letter = a_letter("billing", PaymentCaptured(order_id=story.order_id, total=story.replies.captured.total))

    run = dry_run(letter.id)

    assert run.exception.startswith("InvalidMessage: This service has no handler")
    assert Payment.objects.get(order_id=story.order_id).state == "authorized"


def test_the_page_of_a_letter_tells_the_dry_run(gateway):
    letter = KINDS["authorize"].letter()
    client = Client()
    client.force_login(User.objects.create_superuser(f"superuser-{uuid4().hex}"))

    page = client.post(reverse("admin:deadletters_dry_run", args=[letter.id]))

    assertContains(page, "It would succeed now, if the payment gateway answers as is assumed")
    assertContains(page, "billing.payment_authorized.v1")
    assertContains(page, "billing_payment")
    assert gateway.calls == []
