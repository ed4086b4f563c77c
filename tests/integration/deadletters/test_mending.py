"""Replay, discard and restore: each letter moves only where it may, once, and what follows moves with it."""

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.utils import InternalError

from contracts.operations import ReplaySucceeded
from contracts.sagas import CheckDeadlines
from deadletters import services
from deadletters.collecting.failures import Failures
from deadletters.collecting.reading import Received, read
from deadletters.collecting.storing import store
from deadletters.errors import ReasonMissing
from deadletters.models import DeadLetter, LetterAction, Replay
from messaging.consumer import consume
from messaging.envelope import new_message_id, utc_now
from messaging.models import OutboxMessage
from tests.at_once import at_once
from tests.builders import NOON, a_delivery, a_step_key, an_envelope, reserve_stock
from tests.integration.deadletters.causes import DEATHS

pytestmark = pytest.mark.usefixtures("committed")


def a_letter(*, envelope=None, body: bytes | None = None, headers=None, **more) -> DeadLetter:
    """A letter as the collector stores it."""
    command = reserve_stock(uuid4())
    envelope = envelope or an_envelope(command, **more)
    received = Received(
        service="inventory",
        properties={
            "application_headers": {
                "x-death": DEATHS,
                **(headers if headers is not None else envelope.to_headers()),
            }
        },
        body=body if body is not None else json.dumps([[command.to_payload()], {}, {}]).encode(),
    )
    letter = read(received, letter_id=new_message_id(), now=utc_now())
    assert store([letter], failures=Failures()).letters == [letter.id]
    return DeadLetter.objects.get(id=letter.id)


def of_a_saga() -> DeadLetter:
    saga_id = uuid4()
    key = a_step_key("reserve", saga_id=saga_id, is_compensation=True)
    return a_letter(key=key, saga_id=saga_id, step="reserve", step_try=2)


def replay(*letters: DeadLetter, **more) -> services.Outcome:
    return services.replay(letters, by="ada", reason="the bug is mended", at=NOON, **more)


def discard(*letters: DeadLetter) -> services.Outcome:
    return services.discard(letters, by="ada", reason="a test order", at=NOON)


def outgoing(letter: DeadLetter) -> list[OutboxMessage]:
    return list(OutboxMessage.objects.using("default").filter(message_id=letter.message_id).order_by("id"))


def succeed(replay_id, message_id) -> None:
    """The report of the service that handled the replayed message, as the operations' worker gets it."""
    consume("operations", a_delivery(ReplaySucceeded(replay_id=replay_id, message_id=message_id)))


def test_a_replay_sends_the_original_message_to_the_one_queue_where_it_died():
    letter = a_letter(attempt=8)

    outcome = replay(letter)

    assert (outcome.done, outcome.refused) == ([letter.id], {})
    letter.refresh_from_db()
    assert letter.state == "replaying"
    made = Replay.objects.get(letter=letter)
    assert (made.outcome, made.requested_by, made.reason, made.is_automatic) == (
        "open",
        "ada",
        "the bug is mended",
        False,
    )
    (row,) = outgoing(letter)
    assert (row.service, row.exchange, row.routing_key) == ("operations", "", "inventory")
    assert [[row.body], {}, {}] == json.loads(bytes(letter.body))
    died = {name: value for name, value in letter.headers.items() if not name.startswith("x-")}
    again = {**row.headers, "attempt": 1}
    for name in ("message_id", "type", "idempotency_key", "correlation_id", "occurred_at"):
        assert again[name] == died[name]
    assert again["replay_id"] == str(made.id)
    assert again["attempt"] == 1
    assert (again["origin_exchange"], again["origin_routing_key"]) == ("commands", "inventory.reserve_stock")
    assert not [name for name in again if name.startswith("x-")]
    action = LetterAction.objects.get(letter=letter)
    assert (action.kind, action.by, action.at, action.reason) == (
        "replayed",
        "ada",
        NOON,
        "the bug is mended",
    )


def test_a_replay_may_be_due_later():
    letter = a_letter()
    later = utc_now() + timedelta(hours=3)

    replay(letter, available_at=later)

    assert outgoing(letter)[0].available_at == Replay.objects.get(letter=letter).available_at == later


def test_a_letter_that_is_no_message_of_ours_is_refused_with_the_reason_and_stays():
    cases = {
        "body is not JSON": a_letter(body=b"\xff{"),
        "body is not [[payload], {}, {}]": a_letter(body=b"[[1, 2], {}, {}]"),
        "headers are not an envelope": a_letter(headers={"task": "inventory.reserve_stock.v1"}),
        "characters that the outbox cannot store": a_letter(body=b'[[{"sku": "\\u0000"}], {}, {}]'),
    }
    whole = a_letter()

    outcome = replay(*cases.values(), whole)

    assert outcome.done == [whole.id]
    for said, letter in cases.items():
        assert said in outcome.refused[letter.id]
        letter.refresh_from_db()
        assert letter.state == "open"
        assert not Replay.objects.filter(letter=letter).exists()


def test_of_two_replays_at_once_one_is_made():
    letters = [a_letter() for _ in range(20)]

    outcomes = at_once(*[lambda: replay(*letters)] * 2)

    assert sorted(len(outcome.done) for outcome in outcomes) == [0, 20]
    assert all("It is replaying, not open." in said for o in outcomes for said in o.refused.values())
    for letter in letters:
        assert len(outgoing(letter)) == 1


def test_the_database_keeps_one_open_replay_for_a_letter():
    letter = a_letter()
    replay(letter)

    with pytest.raises(IntegrityError, match="one_open_replay_per_letter"), transaction.atomic():
        Replay.objects.create(
            id=uuid4(), letter=letter, requested_by="eve", requested_at=NOON, available_at=NOON
        )


def test_a_replay_that_succeeded_closes_the_letter_and_a_repeated_report_changes_nothing():
    letter = a_letter()
    replay(letter)
    made = Replay.objects.get(letter=letter)

    for _ in range(2):
        succeed(made.id, letter.message_id)

    letter.refresh_from_db()
    closed_at = letter.closed_at
    assert (letter.state, Replay.objects.get(id=made.id).outcome) == ("resolved", "succeeded")
    succeed(made.id, letter.message_id)
    letter.refresh_from_db()
    assert letter.closed_at == closed_at


def test_a_report_of_an_unknown_replay_changes_nothing_and_is_logged(caplog):
    unknown = uuid4()

    succeed(unknown, uuid4())

    assert f"replay {unknown} has succeeded" in caplog.text


def test_a_replay_that_fails_again_links_the_new_letter_to_the_first_and_so_does_the_next():
    first = a_letter()
    followers = []
    for _ in range(2):
        replay(followers[-1] if followers else first)
        made = Replay.objects.latest("id")
        envelope = an_envelope(reserve_stock(uuid4()), message_id=first.message_id, replay_id=made.id)
        followers.append(a_letter(envelope=envelope))
        assert Replay.objects.get(id=made.id).outcome == "failed"

    first.refresh_from_db()
    second, third = (DeadLetter.objects.get(id=letter.id) for letter in followers)
    assert [letter.state for letter in (first, second, third)] == ["superseded", "superseded", "open"]
    assert second.follows_id == third.follows_id == first.id
    assert replay(first).refused == {first.id: "It is superseded, not open."}


def test_a_success_after_a_copy_of_the_replay_has_died_closes_the_letter_that_came_back():
    first = a_letter()
    replay(first)
    made = Replay.objects.get(letter=first)
    came_back = a_letter(
        envelope=an_envelope(reserve_stock(uuid4()), message_id=first.message_id, replay_id=made.id)
    )

    succeed(made.id, first.message_id)

    came_back.refresh_from_db()
    assert came_back.state == "resolved"
    assert Replay.objects.get(id=made.id).outcome == "succeeded"


def test_discarding_needs_a_reason_closes_the_letter_and_tells_the_saga():
    letter = of_a_saga()
    with pytest.raises(ReasonMissing):
        services.discard([letter], by="ada", reason=" ", at=NOON)

    assert discard(letter).done == [letter.id]

    letter.refresh_from_db()
    assert (letter.state, letter.closed_at) == ("discarded", NOON)
    (note,) = OutboxMessage.objects.using("default").filter(
        type="sagas.note_discarded_letter.v1", body__letter_id=str(letter.id)
    )
    assert note.body == {
        "saga_id": str(letter.saga_id),
        "step": "reserve",
        "step_try": 2,
        "is_compensation": True,
        "letter_id": str(letter.id),
    }
    assert LetterAction.objects.get(letter=letter).reason == "a test order"


def test_discarding_and_telling_the_saga_are_one_transaction(monkeypatch):
    letter = of_a_saga()

    def fail(*args, **kwargs):
        raise RuntimeError("killed here")

    monkeypatch.setattr(services, "note_discarded_letter", fail)
    with pytest.raises(RuntimeError):
        discard(letter)

    letter.refresh_from_db()
    assert letter.state == "open"
    assert not LetterAction.objects.filter(letter=letter).exists()


def test_what_wakes_a_saga_is_not_discarded_for_the_saga_would_wait_for_ever():
    deadline = CheckDeadlines(saga_id=uuid4())
    letter = a_letter(
        envelope=an_envelope(deadline), body=json.dumps([[deadline.to_payload()], {}, {}]).encode()
    )

    outcome = discard(letter)

    assert outcome.done == []
    assert "Replay it" in outcome.refused[letter.id]
    letter.refresh_from_db()
    assert letter.state == "open"


def test_only_an_open_letter_is_discarded_and_only_a_discarded_one_is_restored():
    letter = a_letter()
    replay(letter)
    assert discard(letter).refused == {letter.id: "It is replaying, not open."}

    other = a_letter()
    assert services.restore([other], by="ada", reason="", at=NOON).refused == {
        other.id: "It is open, not discarded."
    }
    discard(other)
    assert services.restore([other], by="ada", reason="", at=NOON).done == [other.id]
    other.refresh_from_db()
    assert (other.state, other.closed_at) == ("open", None)
    assert replay(other).done == [other.id]


def test_a_letter_that_is_not_there_is_named():
    unknown = uuid4()

    assert services.replay([unknown], by="ada", reason="", at=NOON).refused == {
        unknown: "There is no such letter."
    }


def test_many_letters_take_few_statements(django_assert_max_num_queries):
    letters = [a_letter() for _ in range(60)]
    ids = [letter.id for letter in letters]

    with django_assert_max_num_queries(5, using="default"):  # BEGIN, lock, replays, outbox, COMMIT
        outcome = services.replay(ids[:40], by="ada", reason="", at=NOON)
    assert len(outcome.done) == 40
    with django_assert_max_num_queries(5, using="default"):
        outcome = services.discard(ids[40:], by="ada", reason="all wrong", at=NOON)
    assert len(outcome.done) == 20


def test_what_was_done_is_never_rewritten():
    letter = a_letter()
    discard(letter)

    with pytest.raises(InternalError, match="Cannot update"), transaction.atomic():
        LetterAction.objects.filter(letter=letter).update(by="nobody")


def test_operations_is_served_by_the_default_database():
    assert settings.SERVICES["operations"] == "default"
