"""A dry run stays in its transaction, holds nobody up, and leaves no broken connection."""

import threading
import time
from uuid import uuid4

import msgspec
import pytest
from django.conf import settings
from django.db import connections, transaction

from deadletters.errors import InTransaction
from deadletters.models import LetterGroup
from deadletters.rehearsals import stage
from deadletters.rehearsals.dry_runs import dry_run
from messaging import failpoints
from messaging.envelope import utc_now
from messaging.handling import handlers_of
from messaging.models import OutboxMessage
from messaging.unit_of_work import current
from tests.builders import reserve_stock
from tests.integration.deadletters.rehearsed import KINDS, Story, a_letter, nothing_happens

pytestmark = pytest.mark.usefixtures("committed")


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

    assert (run.would_succeed, run.is_tried) == (False, False)
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

    assert not run.is_tried
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
