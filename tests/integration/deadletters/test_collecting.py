"""Every dead letter is stored once, whatever its bytes are and whatever is killed or away meanwhile."""

import json
from decimal import Decimal
from uuid import uuid4

import psycopg2
import pytest
from django.conf import settings
from django.db import OperationalError, connections

from deadletters.collecting import failures, storing
from deadletters.models import DeadLetter, Replay
from messaging.envelope import utc_now
from messaging.models import FailedAttempt, OutboxMessage
from tests.builders import NOON, a_step_key, an_envelope, reserve_stock
from tests.faults.malformed import malformed, with_unreadable_headers

pytestmark = pytest.mark.usefixtures("committed")

TRACEBACK = """Traceback (most recent call last):
  File "/srv/makegood/messaging/consumer.py", line 9, in consume
  File "/srv/makegood/inventory/services.py", line 7, in reserve
  File "/usr/lib/python3.11/json/decoder.py", line 1, in decode
ValueError: no
"""


def a_failure(envelope, *, service: str = "inventory") -> FailedAttempt:
    return FailedAttempt.objects.using(settings.SERVICES[service]).create(
        consumer=service,
        message_id=envelope.message_id,
        replay_id=envelope.replay_id,
        attempt=envelope.attempt,
        type=envelope.type,
        correlation_id=envelope.correlation_id,
        exception="ValueError: no",
        traceback=TRACEBACK,
        failed_at=NOON,
    )


def notes_of(saga_id, kind: str = "sagas.note_dead_letter.v1") -> list[OutboxMessage]:
    return list(OutboxMessage.objects.using("default").filter(type=kind, body__saga_id=str(saga_id)))


def a_saga_command():
    saga_id = uuid4()
    command = reserve_stock(uuid4())
    key = a_step_key("reserve", saga_id=saga_id)
    return saga_id, command, an_envelope(command, key=key, saga_id=saga_id, step="reserve", step_try=1)


def test_any_bytes_are_stored_as_they_came(dying, start_collector, letter_of):
    good = reserve_stock(uuid4())
    cases = malformed(an_envelope(good).to_headers(), good.to_payload())
    marks = {
        name: dying.of_bytes("inventory", body, headers, **properties)
        for name, (properties, headers, body) in cases.items()
    }

    start_collector()

    for name, mark in marks.items():
        body = cases[name][2]
        assert bytes(letter_of(mark).body) == (body.encode() if isinstance(body, str) else body), name
        assert letter_of(mark).reason == "rejected"
        assert letter_of(mark).deaths[0]["queue"] == "inventory"
        assert letter_of(mark).properties.get("content_type") == cases[name][0].get("content_type")
    assert DeadLetter.objects.filter(**{"headers__x-mark__in": list(marks.values())}).count() == len(cases)


def test_headers_of_every_kind_are_kept_and_what_no_column_takes_costs_no_neighbour(
    dying, start_collector, letter_of
):
    odd = {
        "bytes": b"\xff\x00",
        "nul": "a\x00b",
        "price": Decimal("12.50"),
        "at": NOON.replace(tzinfo=None),
        "type": "inventory.\x00.v1",
        "inner": {"list": [1, None, True, {"n\x00l": 1}]},
        "long": "x" * 5_000,
    }
    mark = dying.of_bytes("inventory", b"\x00", odd)
    neighbour = dying.of_message("inventory", reserve_stock(uuid4()))

    start_collector()

    headers = letter_of(mark).headers
    assert headers["price"] == {"$decimal": "12.5"}
    assert headers["at"] == {"$time": "2026-11-23T12:00:00"}
    assert headers["nul"] == {"$text": "YQBi"}
    assert headers["inner"]["list"][3] == {"$table": [[{"$text": "bgBs"}, 1]]}
    assert headers["long"] == "x" * 5_000
    assert letter_of(mark).type == "inventory.�.v1"
    assert letter_of(neighbour.message_id).type == "inventory.reserve_stock.v1"


def test_a_letter_whose_headers_cannot_be_read_is_kept_and_the_collector_goes_on(
    dying, start_collector, letter_of, eventually
):
    unreadable = DeadLetter.objects.filter(properties__has_key="undecodable")
    before = unreadable.count()
    message = with_unreadable_headers(b"from Java")
    dying.channel.basic_publish(message, exchange="dead-letters", routing_key="inventory")

    start_collector()

    eventually(lambda: unreadable.count() == before + 1, timeout=60)
    assert bytes(unreadable.latest("collected_at").body) == b"from Java"
    envelope = dying.of_message("inventory", reserve_stock(uuid4()))
    assert letter_of(envelope.message_id)


def test_the_recorded_failure_comes_with_the_letter_and_makes_its_fingerprint(
    dying, start_collector, letter_of
):
    envelopes = [an_envelope(message) for message in (reserve_stock(uuid4()), reserve_stock(uuid4()))]
    for envelope in envelopes:
        a_failure(envelope)
        dying.of_message("inventory", reserve_stock(uuid4()), envelope)

    start_collector()

    first, second = (letter_of(envelope.message_id) for envelope in envelopes)
    assert (first.exception, first.traceback, first.attempt) == ("ValueError: no", TRACEBACK, 1)
    assert first.is_failure_known
    assert first.group.exception_class == "ValueError"
    assert first.group.frame == "inventory/services.py in reserve"
    assert first.group_id == second.group_id


def test_a_failure_that_cannot_be_read_now_is_filled_in_later(
    dying, start_collector, letter_of, eventually, monkeypatch
):
    if settings.SERVICES["inventory"] == "default":
        pytest.skip("inventory shares the letters' database")
    saga_id, command, envelope = a_saga_command()
    a_failure(envelope)
    asked = failures.Failures.of
    is_away = [True]
    monkeypatch.setattr(
        failures.Failures, "of", lambda self, *given: None if is_away[0] else asked(self, *given)
    )
    monkeypatch.setattr("deadletters.collecting.collector.FILL_IN_EVERY", 0.1)
    dying.of_message("inventory", command, envelope)
    start_collector()

    letter = letter_of(envelope.message_id)
    assert (letter.is_failure_known, letter.exception) == (False, "")
    assert len(notes_of(saga_id)) == 1
    is_away[0] = False

    letter = letter_of(envelope.message_id, is_failure_known=True)
    assert letter.exception == "ValueError: no"
    assert letter.group.exception_class == "ValueError"
    assert len(notes_of(saga_id)) == 1


def test_a_database_of_a_service_that_is_away_is_no_reason_to_wait(
    dying, start_collector, letter_of, monkeypatch
):
    if settings.SERVICES["inventory"] == "default":
        pytest.skip("inventory shares the letters' database")
    monkeypatch.setitem(connections.settings[settings.SERVICES["inventory"]], "PORT", "1")
    envelope = dying.of_message("inventory", reserve_stock(uuid4()))

    start_collector()

    assert not letter_of(envelope.message_id).is_failure_known


def test_a_letter_that_is_delivered_again_is_stored_once(
    dying, broker, spawn_collector, letter_of, eventually
):
    """Killed between the commit and the acknowledgement, the collector gets the same letters again."""
    saga_id, command, envelope = a_saga_command()
    mark = dying.of_bytes("inventory", b"\xff", {})
    dying.of_message("inventory", command, envelope)

    killed = spawn_collector(MAKEGOOD_FAILPOINT="collector.committed")
    assert killed.wait(timeout=90) != 0
    assert letter_of(mark) or letter_of(envelope.message_id)
    spawn_collector()

    letter_of(mark)
    letter_of(envelope.message_id)
    eventually(lambda: depth(broker, "inventory.dead") == 0, timeout=60)
    assert DeadLetter.objects.filter(message_id=envelope.message_id).count() == 1
    assert DeadLetter.objects.filter(**{"headers__x-mark": mark}).count() == 1
    assert len(notes_of(saga_id)) == 1


def test_a_collector_killed_before_the_commit_has_stored_nothing_and_lost_nothing(
    dying, spawn_collector, letter_of
):
    saga_id, command, envelope = a_saga_command()
    dying.of_message("inventory", command, envelope)

    killed = spawn_collector(MAKEGOOD_FAILPOINT="collector.stored")
    assert killed.wait(timeout=90) != 0
    assert not DeadLetter.objects.filter(message_id=envelope.message_id).exists()
    assert notes_of(saga_id) == []
    spawn_collector()

    assert letter_of(envelope.message_id)
    assert len(notes_of(saga_id)) == 1


def test_a_letter_that_the_database_refuses_is_kept_as_bytes_and_its_neighbours_whole(
    dying, start_collector, letter_of, monkeypatch, eventually
):
    bad = dying.of_message("inventory", reserve_stock(uuid4()))
    good = dying.of_message("inventory", reserve_stock(uuid4()))
    store = storing.store

    def refuse(letters, **more):
        if any(letter.message_id == bad.message_id for letter in letters):
            raise ValueError("refused")
        return store(letters, **more)

    monkeypatch.setattr(storing, "store", refuse)
    start_collector()

    assert letter_of(good.message_id).headers["task"] == "inventory.reserve_stock.v1"
    bare = DeadLetter.objects.filter(**{"headers__$repr__icontains": str(bad.message_id)})
    letter = eventually(bare.first, timeout=60)
    assert letter.headers["$unstorable"] == "refused"
    assert json.loads(bytes(letter.body))[1:] == [{}, {}]


def test_while_the_database_is_away_the_broker_keeps_the_letters(
    dying, broker, start_collector, letter_of, eventually, monkeypatch
):
    store = storing.store
    is_away = [True]

    def away(letters, **more):
        if is_away[0]:
            try:
                raise psycopg2.OperationalError("server closed the connection unexpectedly")
            except psycopg2.Error as error:
                raise OperationalError(str(error)) from error
        return store(letters, **more)

    monkeypatch.setattr(storing, "store", away)
    start_collector()
    envelope = dying.of_message("inventory", reserve_stock(uuid4()))
    eventually(lambda: depth(broker, "inventory.dead") == 1, timeout=30)
    is_away[0] = False

    assert letter_of(envelope.message_id)
    eventually(lambda: depth(broker, "inventory.dead") == 0, timeout=60)


def test_two_collectors_share_the_work_and_store_each_letter_once(dying, broker, start_collector, eventually):
    start_collector()
    start_collector()
    envelopes = [dying.of_message("inventory", reserve_stock(uuid4())) for _ in range(120)]
    ids = [envelope.message_id for envelope in envelopes]

    letters = DeadLetter.objects.filter(message_id__in=ids)
    eventually(lambda: letters.count() == 120, timeout=60)
    eventually(lambda: depth(broker, "inventory.dead") == 0, timeout=60)

    assert letters.count() == 120


def test_a_dead_command_of_a_saga_is_told_to_it_and_nothing_else_is(dying, start_collector, letter_of):
    saga_id, command, envelope = a_saga_command()
    alone = an_envelope(reserve_stock(uuid4()))
    a_failure(envelope)
    dying.of_message("inventory", command, envelope)
    dying.of_message("inventory", reserve_stock(uuid4()), alone)

    start_collector()

    letter = letter_of(envelope.message_id)
    letter_of(alone.message_id)
    (note,) = notes_of(saga_id)
    assert note.body == {
        "saga_id": str(saga_id),
        "step": "reserve",
        "step_try": 1,
        "is_compensation": False,
        "letter_id": str(letter.id),
        "problem": "ValueError: no",
    }
    assert (note.exchange, note.routing_key) == ("commands", "sagas.note_dead_letter")
    assert note.headers["correlation_id"] == envelope.correlation_id
    assert "saga_id" not in note.headers
    assert (
        not OutboxMessage.objects.using("default")
        .filter(type="sagas.note_dead_letter.v1", headers__correlation_id=alone.correlation_id)
        .exists()
    )


def test_a_message_that_was_only_beside_a_poison_message_is_replayed_once_by_itself(
    dying, start_collector, letter_of
):
    saga_id, command, envelope = a_saga_command()
    dying.by_delivery_limit("inventory", command, envelope)

    start_collector()

    letter = letter_of(envelope.message_id)
    assert letter.reason == "delivery_limit"
    assert letter.state == "replaying"
    replay = Replay.objects.get(letter=letter)
    assert (replay.is_automatic, replay.requested_by) == (True, "collector")
    (again,) = OutboxMessage.objects.using("default").filter(message_id=envelope.message_id)
    assert again.headers["replay_id"] == str(replay.id)
    assert notes_of(saga_id) == [], "the saga is told only if that fails too"

    dying.by_delivery_limit(
        "inventory",
        command,
        an_envelope(
            command,
            key=envelope.idempotency_key,
            message_id=envelope.message_id,
            saga_id=saga_id,
            step="reserve",
            step_try=1,
            replay_id=replay.id,
        ),
    )

    poison = letter_of(envelope.message_id, replay_id=replay.id)
    assert (poison.state, poison.follows_id) == ("open", letter.id)
    letter.refresh_from_db()
    assert letter.state == "superseded"
    assert Replay.objects.get(id=replay.id).outcome == "failed"
    assert not Replay.objects.filter(letter=poison).exists()
    assert len(notes_of(saga_id)) == 1


def test_a_message_that_failed_and_was_delivered_too_often_is_not_replayed_by_itself(
    dying, start_collector, letter_of
):
    envelope = an_envelope(reserve_stock(uuid4()))
    a_failure(envelope)
    dying.by_delivery_limit("inventory", reserve_stock(uuid4()), envelope)

    start_collector()

    assert letter_of(envelope.message_id).state == "open"


def test_whether_to_replay_by_itself_waits_for_the_failure(dying, start_collector, letter_of, monkeypatch):
    saga_id, command, envelope = a_saga_command()
    asked = failures.Failures.of
    is_away = [True]
    monkeypatch.setattr(
        failures.Failures, "of", lambda self, *given: None if is_away[0] else asked(self, *given)
    )
    monkeypatch.setattr("deadletters.collecting.collector.FILL_IN_EVERY", 0.1)
    dying.by_delivery_limit("inventory", command, envelope)
    start_collector()
    assert letter_of(envelope.message_id).state == "open"
    assert notes_of(saga_id) == []

    is_away[0] = False

    letter = letter_of(envelope.message_id, state="replaying")
    assert letter.is_failure_known
    assert Replay.objects.get(letter=letter).is_automatic
    assert notes_of(saga_id) == []


def test_a_batch_takes_as_many_statements_for_a_hundred_letters_as_for_one(django_assert_max_num_queries):
    from deadletters.collecting.reading import Received, read
    from messaging.envelope import new_message_id

    def letters(count: int):
        received = []
        for _ in range(count):
            _, command, envelope = a_saga_command()
            received.append(
                Received(
                    service="inventory",
                    properties={"application_headers": envelope.to_headers()},
                    body=json.dumps([[command.to_payload()], {}, {}]).encode(),
                )
            )
        return [read(each, letter_id=new_message_id(), now=utc_now()) for each in received]

    storing.store(letters(1), failures=failures.Failures())
    for count in (1, 100):
        with django_assert_max_num_queries(5, using="default"):  # BEGIN, groups, letters, notes, COMMIT
            stored = storing.store(letters(count), failures=failures.Failures())
        assert len(stored.letters) == count


def depth(broker, queue: str) -> int:
    return broker.default_channel.queue_declare(queue, passive=True).message_count
