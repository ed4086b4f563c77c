"""A dry run, an edit and a replay of a message that a worker has in hand at the moment: one effect, and no trace."""

import json
from typing import Any

import pytest
from django.conf import settings
from django.db import connections

from deadletters import services
from deadletters.editing.edits import approve, decline, edit
from deadletters.errors import InvalidEdit, WrongMove
from deadletters.models import DeadLetter, LetterEdit, Replay
from deadletters.rehearsals.dry_runs import dry_run
from eventstore.models import StoredEvent
from messaging.consumer import consume
from messaging.delivery import Delivery
from messaging.envelope import utc_now
from messaging.models import IdempotencyKey, OutboxMessage
from tests.at_once import at_once
from tests.integration.deadletters.rehearsed import KINDS
from tests.integration.deadletters.test_edits import (
    a_billing_letter,
    body_with,
    deliver,
    edited,
    sent_for,
    somebody,
)
from tests.running_shop import wait_until

pytestmark = pytest.mark.usefixtures("committed")
_SESSION = """
SELECT current_setting('lock_timeout'), current_setting('statement_timeout'),
       current_setting('idle_in_transaction_session_timeout'), current_setting('search_path'),
       (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'),
       (SELECT count(*) FROM pg_listening_channels())"""


def session_of(database: str) -> tuple[Any, ...]:
    with connections[database].cursor() as cursor:
        cursor.execute(_SESSION)
        return tuple(cursor.fetchone())


def original(letter: DeadLetter) -> Delivery:
    payload = json.loads(bytes(letter.body))[0][0]
    return Delivery(headers=letter.headers, payload=payload, exchange="", routing_key=letter.service)


@pytest.mark.parametrize("name", KINDS)
def test_a_dry_run_of_what_a_worker_is_handling_takes_nothing_from_it_and_leaves_its_session_as_it_was(
    name, gateway
):
    letter = KINDS[name].letter()
    database = settings.SERVICES[letter.service]
    before = session_of(database)

    def rehearse() -> tuple[Any, ...]:
        for _ in range(3):
            run = dry_run(letter.id)
            assert run.would_succeed or not run.is_tried or "asking" in run.verdict, run
        assert not connections[database].in_atomic_block
        return session_of(database)

    *sessions, _ = at_once(rehearse, rehearse, lambda: consume(letter.service, original(letter)))

    assert sessions == [before, before]
    key = IdempotencyKey.objects.using(database).get(
        consumer=letter.service, key=letter.headers["idempotency_key"]
    )
    assert key.state == "finished"
    assert dry_run(letter.id).would_succeed


_REHEARSES = """
import signal, msgspec
from deadletters.rehearsals.dry_runs import dry_run
from messaging.handling import handlers_of
handlers = handlers_of("inventory")
declared = handlers["inventory.reserve_stock.v1"]
def run(command):
    declared.run(command)
    print("held", flush=True)
    signal.pause()
handlers["inventory.reserve_stock.v1"] = msgspec.structs.replace(declared, run=run)
dry_run({letter!r})
"""


def test_a_process_that_is_killed_in_a_dry_run_leaves_no_row_held_and_no_session(run_shell):
    letter = KINDS["reserve stock"].letter()
    database = settings.SERVICES["inventory"]
    process = run_shell(_REHEARSES.format(letter=str(letter.id)))
    assert process.stdout.readline() == "held\n"

    process.kill()
    process.wait(timeout=30)

    def is_gone() -> bool:
        with connections[database].cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND state LIKE 'idle in transaction%%' AND pid <> pg_backend_pid()"
            )
            return not cursor.fetchone()[0]

    wait_until(is_gone, what="the killed process's session to end", timeout=10)
    consume("inventory", original(letter))
    assert dry_run(letter.id).verdict.startswith("Nothing would be done again: it was handled")


def test_an_edited_message_and_a_copy_of_the_original_at_once_have_one_effect(gateway, monkeypatch):
    monkeypatch.setattr(settings, "LETTER_EDITING", True)
    monkeypatch.setattr(settings, "LETTER_EDITS_NEED_APPROVAL", False)
    letter = a_billing_letter()
    row = sent_for(edited(letter).message_id)
    assert row is not None

    at_once(lambda: deliver(row), lambda: consume("billing", original(letter)), lambda: deliver(row))

    events = StoredEvent.objects.using(settings.SERVICES["billing"]).filter(
        metadata__correlation_id=letter.correlation_id
    )
    assert [event.type for event in events] == ["billing.payment_authorized.v1"]


def test_of_an_edit_and_a_replay_at_once_one_is_sent(monkeypatch):
    monkeypatch.setattr(settings, "LETTER_EDITING", True)
    monkeypatch.setattr(settings, "LETTER_EDITS_NEED_APPROVAL", False)
    for _ in range(10):
        letter = a_billing_letter()

        def edits(letter: DeadLetter = letter) -> bool:
            try:
                edit(
                    letter.id,
                    body_with(letter, payment_token="tok_visa"),
                    operator=somebody(),
                    reason="a new card",
                    at=utc_now(),
                )
            except InvalidEdit:
                return False
            return True

        def replays(letter: DeadLetter = letter) -> bool:
            return bool(services.replay([letter], by="eve", reason="", at=utc_now()).done)

        assert sorted(at_once(edits, replays)) == [False, True]
        assert Replay.objects.filter(letter=letter).count() == 1
        sent = OutboxMessage.objects.using("default").filter(
            headers__idempotency_key=letter.headers["idempotency_key"]
        )
        assert sent.count() == 1


def test_of_approving_declining_and_discarding_at_once_the_proposal_has_one_end(monkeypatch):
    monkeypatch.setattr(settings, "LETTER_EDITING", True)
    monkeypatch.setattr(settings, "LETTER_EDITS_NEED_APPROVAL", True)
    for _ in range(10):
        letter = a_billing_letter()
        made = edited(letter)

        def decides(decide: Any, name: str, made: LetterEdit = made) -> bool:
            try:
                decide(made.id, operator=somebody(name), reason="seen", at=utc_now())
            except (InvalidEdit, WrongMove):
                return False
            return True

        approved, declined, _ = at_once(
            lambda: decides(approve, "bob"),
            lambda: decides(decline, "cyd"),
            lambda letter=letter: services.discard([letter], by="eve", reason="no", at=utc_now()),
        )

        now = LetterEdit.objects.get(id=made.id)
        state = DeadLetter.objects.get(id=letter.id).state
        assert not (approved and declined)
        assert (now.state, state) in {
            ("sent", "replaying"),
            ("declined", "discarded"),
            ("proposed", "discarded"),
        }
        assert Replay.objects.filter(letter=letter).count() == (1 if approved else 0)
