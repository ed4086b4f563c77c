"""A dry run says what a handler would do, does none of it, and holds nobody up."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
import pytest
from django.conf import settings
from django.core import mail
from django.db import connections, transaction

from billing.models import Payment
from contracts.billing import AuthorizePayment, PaymentCaptured, VoidPayment
from contracts.inventory import ReserveStock
from contracts.message import Event, Message
from deadletters import dry_runs, stage
from deadletters.dry_runs import dry_run
from deadletters.errors import InTransaction
from deadletters.models import DeadLetter, LetterGroup
from inventory import services as inventory
from launcher import environment as environments
from messaging import failpoints
from messaging.consumer import consume
from messaging.envelope import utc_now
from messaging.errors import PermanentError
from messaging.handling import GatewayHandler, Handler, handlers_of
from messaging.models import CircuitBreaker, IdempotencyKey, KeyRetention, OutboxMessage
from messaging.settlement import Rejected
from messaging.unit_of_work import current
from orders.catalogue import load_catalogue
from tests.builders import a_delivery, an_envelope, authorize_payment, capture_payment, reserve_stock
from tests.databases import ROOT, Databases, connected_to
from tests.integration.deadletters.rehearsed import KINDS, Kind, Story, a_letter, nothing_happens
from tests.integration.messaging.ordered_consumer import a_stream, an_event

pytestmark = pytest.mark.usefixtures("committed")
ONE_DATABASE = "dry_runs_in_one_database"
_OF_OPERATORS_JOBS = {("operations", "operations.advance_letter_job.v1")}


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

    assert handled - _OF_OPERATORS_JOBS == story_kinds


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
    run = dry_run(KINDS["refund"].letter().id)

    assert [told.to for told in run.told if told.type == "billing.payment_refunded.v1"] == [
        "the event store alone"
    ]


def broken(monkeypatch, service: str, wire_type: str, error: Exception) -> None:
    """From now on the handler fails, after it has written."""
    declared = handlers_of(service)[wire_type]
    assert isinstance(declared, Handler)

    def fail(message) -> Event | None:
        declared.run(message)
        raise error

    monkeypatch.setitem(handlers_of(service), wire_type, msgspec.structs.replace(declared, run=fail))


def died(service: str, message: Message, **more: Any) -> DeadLetter:
    """The letter of a message that its consumer could not handle, with the failure that it has recorded."""
    envelope = an_envelope(message, occurred_at=utc_now(), **more)
    with pytest.raises(Rejected):
        consume(service, a_delivery(message, envelope))
    return a_letter(service, message, envelope=envelope)


def a_shelf_that_is_gone(monkeypatch) -> DeadLetter:
    broken(monkeypatch, "inventory", ReserveStock.wire_type, PermanentError("the shelf is gone"))
    return died("inventory", reserve_stock(uuid4()))


def a_payment_that_nobody_knows(monkeypatch) -> DeadLetter:
    return died("billing", capture_payment(uuid4()), attempt=20)


def an_answer_that_cannot_be_stored(monkeypatch) -> DeadLetter:
    declared = handlers_of("billing")[AuthorizePayment.wire_type]

    def fail(command, outcome) -> NoReturn:
        raise PermanentError("the ledger is full")

    monkeypatch.setitem(
        handlers_of("billing"), AuthorizePayment.wire_type, msgspec.structs.replace(declared, conclude=fail)
    )
    return died("billing", authorize_payment(uuid4()))


def a_type_that_the_service_does_not_handle(monkeypatch) -> DeadLetter:
    return died("inventory", authorize_payment(uuid4()))


@pytest.mark.parametrize(
    ("dies", "said"),
    [
        (a_shelf_that_is_gone, "PermanentError: the shelf is gone."),
        (a_payment_that_nobody_knows, "PaymentNotInState: The payment of order "),
        (an_answer_that_cannot_be_stored, "PermanentError: the ledger is full."),
        (a_type_that_the_service_does_not_handle, "InvalidMessage: This service has no handler for"),
    ],
)
def test_what_would_fail_as_it_did_is_said_to_fail_in_the_same_way(gateway, monkeypatch, dies, said):
    letter = dies(monkeypatch)
    assert letter.exception

    with nothing_happens(monkeypatch):
        run = dry_run(letter.id)

    assert (run.would_succeed, run.is_same_failure, run.exception) == (False, True, letter.exception)
    assert run.verdict.startswith(f"It would fail again in the same way: {said}")
    assert "Traceback" in run.traceback
    assert (run.writes, run.told) == ([], [])


def test_what_would_fail_otherwise_is_said_to_and_what_is_mended_succeeds(monkeypatch):
    with monkeypatch.context() as still:
        letter = a_shelf_that_is_gone(still)
    mended = dry_run(letter.id)
    broken(monkeypatch, "inventory", letter.type, ZeroDivisionError("no shelves"))
    otherwise = dry_run(letter.id)

    assert mended.would_succeed
    assert (otherwise.would_succeed, otherwise.is_same_failure) == (False, False)
    assert otherwise.verdict == "It would fail in another way than before: ZeroDivisionError: no shelves."


def test_what_the_database_quotes_of_a_row_is_left_out(monkeypatch):
    letter = a_letter("inventory", reserve_stock(uuid4()))

    def insert_twice(command) -> None:
        with connections[settings.SERVICES["inventory"]].cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE secrets (secret text UNIQUE)")
            cursor.execute("INSERT INTO secrets VALUES ('Ada Lovelace'), ('Ada Lovelace')")

    declared = handlers_of("inventory")[letter.type]
    monkeypatch.setitem(
        handlers_of("inventory"), letter.type, msgspec.structs.replace(declared, run=insert_twice)
    )

    run = dry_run(letter.id)

    assert run.exception.startswith("IntegrityError: duplicate key value")
    assert "Lovelace" not in run.exception
    assert "DETAIL" not in run.traceback


def test_constraints_that_are_deferred_to_the_commit_speak_too(monkeypatch):
    letter = KINDS["confirm"].letter()

    def write_an_orphan(command) -> None:
        with connections[settings.SERVICES["orders"]].cursor() as cursor:
            cursor.execute(
                "INSERT INTO orders_orderline (order_id, sku, name, quantity, unit_amount) "
                "VALUES (%s, 'mug', 'Mug', 1, 1)",
                [uuid4()],
            )

    declared = handlers_of("orders")[letter.type]
    monkeypatch.setitem(
        handlers_of("orders"), letter.type, msgspec.structs.replace(declared, run=write_an_orphan)
    )

    run = dry_run(letter.id)

    assert not run.would_succeed
    assert "violates foreign key constraint" in run.exception


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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": "inventory.reserve_stock.v9"}, "contracts/ has no message type"),
        ({"type": "billing.capture_payment.v1"}, "This service has no handler for"),
    ],
)
def test_a_message_that_the_service_does_not_understand_fails_in_the_consumers_words(change, said):
    command = reserve_stock(uuid4())
    headers = an_envelope(command).to_headers() | change

    run = dry_run(a_letter("inventory", command, headers=headers).id)

    assert not run.would_succeed
    assert run.exception.startswith(f"InvalidMessage: {said}")


def test_a_body_that_breaks_the_contract_fails_in_the_consumers_words():
    command = reserve_stock(uuid4())
    run = dry_run(a_letter("inventory", command, body=b'[[{"order_id": 5}], {}, {}]').id)

    assert run.exception.startswith("InvalidMessage: The body is not a inventory.reserve_stock.v1")


def test_what_is_no_message_of_ours_is_said_to_be():
    run = dry_run(a_letter("inventory", body=b"\xff\x00").id)

    assert not run.would_succeed
    assert run.verdict.startswith("It cannot be sent again.")


def test_a_letter_of_a_service_that_is_gone_says_so():
    command = reserve_stock(uuid4())
    letter = a_letter("inventory", command)
    DeadLetter.objects.filter(id=letter.id).update(service="warehouse")

    assert dry_run(letter.id).verdict == "It cannot be handled: this release has no service 'warehouse'."


def test_it_refuses_to_undo_a_transaction_that_it_has_not_begun():
    letter = a_letter("inventory", reserve_stock(uuid4()))

    with (
        pytest.raises(InTransaction, match=r"outside of transaction\.atomic"),
        transaction.atomic(using=settings.SERVICES["inventory"]),
    ):
        dry_run(letter.id)


def test_a_handler_that_turns_to_another_database_does_nothing_there(monkeypatch):
    letter = a_letter("inventory", reserve_stock(uuid4()))

    def write_elsewhere(command) -> None:
        with transaction.atomic(using="default"):
            LetterGroup.objects.create(
                fingerprint=uuid4().hex, first_seen_at=utc_now(), last_seen_at=utc_now()
            )

    declared = handlers_of("inventory")[letter.type]
    monkeypatch.setitem(
        handlers_of("inventory"), letter.type, msgspec.structs.replace(declared, run=write_elsewhere)
    )

    with nothing_happens(monkeypatch):
        run = dry_run(letter.id)

    assert run.exception.startswith("LeavesItsDatabase: The handler has turned to the database 'default'")


def test_models_that_are_in_every_database_are_the_services_own(monkeypatch):
    """The web process has no service of its own, and the handler runs there as in its worker."""
    letter = a_letter("inventory", reserve_stock(uuid4()))
    seen = []

    def look(command) -> None:
        seen.append(OutboxMessage.objects.all().db)
        seen.append(current().database)

    declared = handlers_of("inventory")[letter.type]
    monkeypatch.setitem(handlers_of("inventory"), letter.type, msgspec.structs.replace(declared, run=look))

    assert settings.SERVICE == ""
    dry_run(letter.id)

    assert seen == [settings.SERVICES["inventory"]] * 2


def test_rows_that_others_hold_are_not_waited_for_long():
    story = Story()
    story.reserved()
    letter = a_letter("inventory", story.replies.confirmed)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        database = settings.SERVICES["inventory"]
        with transaction.atomic(using=database), connections[database].cursor() as cursor:
            cursor.execute(
                "SELECT 1 FROM inventory_reservation WHERE order_id = %s FOR UPDATE", [story.order_id]
            )
            held.set()
            done.wait(60)
        connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(20)
        begun = time.monotonic()
        run = dry_run(letter.id)
        took = time.monotonic() - begun
    finally:
        done.set()
        thread.join(20)

    assert not run.would_succeed
    assert run.verdict.startswith("Somebody else holds rows that it needs")
    assert took < 2 * stage.LOCK_TIMEOUT + 5


def test_a_database_that_is_away_is_said_to_be_and_is_asked_again_afterwards(monkeypatch):
    letter = a_letter("inventory", reserve_stock(uuid4()))
    database = settings.SERVICES["inventory"]
    connections[database].close()
    with monkeypatch.context() as away:
        away.setitem(connections[database].settings_dict, "PORT", "1")
        away.setitem(connections[database].settings_dict, "HOST", "127.0.0.1")
        run = dry_run(letter.id)

    assert run.verdict == "The database of inventory does not answer at present, so nothing could be tried."
    assert dry_run(letter.id).would_succeed


def test_a_session_that_is_cut_meanwhile_leaves_no_broken_connection(monkeypatch):
    letter = a_letter("inventory", reserve_stock(uuid4()))
    database = settings.SERVICES["inventory"]

    def lose_the_session(command) -> None:
        with connections[database].cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with monkeypatch.context() as cut:
        declared = handlers_of("inventory")[letter.type]
        cut.setitem(
            handlers_of("inventory"), letter.type, msgspec.structs.replace(declared, run=lose_the_session)
        )
        run = dry_run(letter.id)

    assert run.verdict.startswith("The database of inventory does not answer")
    assert dry_run(letter.id).would_succeed


def test_failpoints_do_not_fire(monkeypatch):
    killed = []
    monkeypatch.setattr(failpoints.os, "kill", lambda *args: killed.append(args))
    monkeypatch.setattr(failpoints, "_name", "consumer.handled")

    assert dry_run(KINDS["reserve stock"].letter().id).would_succeed
    assert killed == []


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
