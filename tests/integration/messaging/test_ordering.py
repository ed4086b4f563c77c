"""An ordered consumer is given each stream's events once, in order, whatever the broker does."""

import threading
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from contracts.billing import PaymentAuthorized, PaymentCaptured
from contracts.operations import ReplaySucceeded
from contracts.orders import OrderConfirmed
from messaging import handling, ordering, replays, topology
from messaging.envelope import utc_now
from messaging.errors import PermanentError, TransientError
from messaging.gaps import gaps
from messaging.handling import GatewayHandler, Handler
from messaging.models import HeldBackMessage, IdempotencyKey, KeyRetention, OutboxMessage, SkippedEvents
from messaging.settlement import Rejected
from tests.builders import NOON
from tests.integration.messaging.ordered_consumer import (
    DATABASE,
    SERVICE,
    STREAM_TYPES,
    WITHOUT_HANDLER,
    OrderedConsumer,
    a_stream,
    an_event,
    deliver,
    held_back,
    own_registry,
    position,
    replay_of,
    take_outgoing,
)

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def consumer(committed, monkeypatch) -> OrderedConsumer:
    return OrderedConsumer(monkeypatch)


def test_events_in_order_are_handled_as_they_come(consumer):
    stream = a_stream()

    for sequence in (1, 2, 3):
        deliver(an_event(stream, sequence))

    assert consumer.handled(stream) == [1, 2, 3]
    assert position(stream) == 3


def test_an_event_that_comes_too_early_is_held_back_and_goes_on_when_the_gap_closes(consumer):
    stream = a_stream()

    deliver(an_event(stream, 3))
    deliver(an_event(stream, 2))
    assert (consumer.handled(stream), held_back(stream)) == ([], [2, 3])

    deliver(an_event(stream, 1))
    assert (consumer.handled(stream), held_back(stream)) == ([1], [3]), "one after the other"

    (second,) = take_outgoing(stream)
    deliver(second)
    (third,) = take_outgoing(stream)
    deliver(third)
    assert (consumer.handled(stream), held_back(stream)) == ([1, 2, 3], [])


def test_holding_back_claims_nothing_and_keeps_the_message_as_it_came(consumer):
    stream = a_stream()
    early = an_event(stream, 2, attempt=2)

    deliver(early)

    held = HeldBackMessage.objects.using(DATABASE).get(consumer=SERVICE, stream=stream)
    assert held.body == early.payload
    assert held.headers["attempt"] == 2
    assert (held.headers["origin_exchange"], held.headers["origin_routing_key"]) == (
        early.exchange,
        early.routing_key,
    )
    assert not IdempotencyKey.objects.using(DATABASE).filter(key=early.headers["idempotency_key"]).exists()


@pytest.mark.parametrize("sequence", [1, 2, 3])
def test_a_copy_has_no_further_effect(consumer, sequence):
    stream = a_stream()
    deliveries = {number: an_event(stream, number) for number in (1, 2, 3)}
    deliver(deliveries[1])
    deliver(deliveries[3])
    deliver(deliveries[sequence])
    deliver(deliveries[2])
    (third,) = take_outgoing(stream)
    deliver(third)
    deliver(deliveries[sequence])

    assert consumer.handled(stream) == [1, 2, 3]
    assert (held_back(stream), take_outgoing(stream)) == ([], [])


def test_events_without_a_handler_only_move_the_position(consumer):
    stream = a_stream()

    deliver(an_event(stream, 1))
    deliver(an_event(stream, 2, event_type=WITHOUT_HANDLER))
    deliver(an_event(stream, 3, event_type=PaymentCaptured))

    assert consumer.handled(stream) == [1, 3]
    assert position(stream) == 3


def test_a_stream_begins_behind_the_number_that_the_consumer_starts_after(committed, monkeypatch):
    consumer = OrderedConsumer(monkeypatch, starts_after=4)
    stream = a_stream()

    for sequence in (4, 6, 5):
        deliver(an_event(stream, sequence))
    (sixth,) = take_outgoing(stream)
    deliver(sixth)

    assert consumer.handled(stream) == [5, 6]


def test_a_failed_attempt_leaves_the_position_where_it_was_and_holds_the_followers(consumer):
    stream = a_stream()

    def fail(envelope):
        raise TransientError("not today")

    consumer.before = fail
    deliver(an_event(stream, 1))
    deliver(an_event(stream, 2))
    assert (consumer.handled(stream), held_back(stream), position(stream)) == ([], [2], 0)

    consumer.before = lambda envelope: None
    (retry,) = take_outgoing(stream)
    deliver(retry)
    (second,) = take_outgoing(stream)
    deliver(second)
    assert consumer.handled(stream) == [1, 2]


def test_a_dead_letter_holds_back_its_own_stream_only_and_its_replay_lets_it_go_on(consumer):
    ill, well = a_stream(), a_stream()

    def refuse(envelope):
        if envelope.stream == ill and envelope.replay_id is None:
            raise PermanentError("this one is poison")

    consumer.before = refuse
    letter = an_event(ill, 1)
    with pytest.raises(Rejected):
        deliver(letter)
    for sequence in (1, 2):
        deliver(an_event(well, sequence))
        deliver(an_event(ill, sequence + 1, replay_id=None))
    assert (consumer.handled(well), consumer.handled(ill)) == ([1, 2], [])
    assert held_back(ill) == [2, 3]

    consumer.before = lambda envelope: None
    deliver(replay_of(letter))
    while outgoing := take_outgoing(ill):
        for delivery in outgoing:
            deliver(delivery)
    assert consumer.handled(ill) == [1, 2, 3]


def test_a_replay_that_is_held_back_keeps_its_replay_id(consumer):
    """Whoever replayed the letter is told of its success when it has succeeded, not when it was put aside."""
    stream = a_stream()
    early = an_event(stream, 2)
    replay = replay_of(early)
    deliver(early)
    deliver(replay)
    deliver(early)

    deliver(an_event(stream, 1))

    (goes_on,) = take_outgoing(stream)
    assert goes_on.headers["replay_id"] == replay.headers["replay_id"]


def test_a_replay_is_reported_when_it_is_handled_or_was_and_not_when_it_is_held_back(consumer, monkeypatch):
    monkeypatch.setattr(replays, "is_awaited", lambda envelope: envelope.replay_id is not None)
    stream = a_stream()
    second = replay_of(an_event(stream, 2))

    def reports() -> int:
        rows = OutboxMessage.objects.using(DATABASE).filter(type=ReplaySucceeded.wire_type)
        return rows.filter(body__replay_id=second.headers["replay_id"]).count()

    deliver(second)
    assert reports() == 0
    deliver(an_event(stream, 1))
    (goes_on,) = take_outgoing(stream)
    deliver(goes_on)
    assert reports() == 1
    deliver(second)
    assert reports() == 2, "a repeated report changes nothing"


@pytest.mark.parametrize(
    "place",
    [{"stream": None, "sequence": None}, {"stream": "order-1", "sequence": 1}, {"sequence": 0}],
    ids=["no place", "another kind of stream", "no number from 1"],
)
def test_an_event_without_a_place_in_such_a_stream_is_a_dead_letter(consumer, place):
    stream = a_stream()
    delivery = an_event(stream, 1)
    headers = {name: value for name, value in {**delivery.headers, **place}.items() if value is not None}

    with pytest.raises(Rejected, match="in a stream payment-"):
        deliver(type(delivery)(headers=headers, payload=delivery.payload, exchange="", routing_key=SERVICE))

    assert position(stream) is None


def test_the_queue_is_bound_to_every_type_of_the_stream(consumer):
    bound = {routing_key for queue, _, routing_key in topology.bindings() if queue == SERVICE}

    assert bound >= {event_type.wire_type for event_type in STREAM_TYPES}
    assert WITHOUT_HANDLER.wire_type in handling.handlers_of(SERVICE)


def test_a_declaration_that_cannot_be_kept_is_refused(consumer):
    with pytest.raises(TypeError, match="twice"):
        ordering.ordered(SERVICE, kind="refund", types=[PaymentAuthorized])


def test_an_ordered_event_is_never_handled_in_batches(consumer):
    handling._handlers[SERVICE, PaymentAuthorized.wire_type] = Handler(
        service=SERVICE, message_type=PaymentAuthorized, run=lambda event: None, batch=50
    )

    with pytest.raises(
        TypeError, match=r"notifications handles billing\.payment_authorized\.v1 in batches of 50"
    ):
        handling.complete_ordered_consumers()


@pytest.mark.parametrize("sequence", [2, 3], ids=["a copy of the same event", "the next event"])
def test_two_workers_on_one_stream_take_turns_and_other_streams_do_not_wait(consumer, eventually, sequence):
    """Whoever comes second waits for the first one's transaction, and only then finds out whether it is its turn."""
    stream, other = a_stream(), a_stream()
    deliver(an_event(stream, 1))
    second = an_event(stream, 2)
    competitor = second if sequence == 2 else an_event(stream, sequence)
    is_inside, may_end = threading.Event(), threading.Event()

    def dwell(envelope):
        if (envelope.stream, envelope.sequence) == (stream, 2):
            is_inside.set()
            assert may_end.wait(timeout=120)

    consumer.before = dwell
    failures: list[BaseException] = []

    def handle(delivery) -> None:
        try:
            deliver(delivery)
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    workers = [threading.Thread(target=handle, args=(delivery,)) for delivery in (second, competitor)]
    try:
        workers[0].start()
        assert is_inside.wait(timeout=60)
        workers[1].start()
        eventually(_somebody_waits_for_the_position, timeout=60)
        deliver(an_event(other, 1))
        assert consumer.handled(other) == [1], "another stream is not held up"
    finally:
        may_end.set()
        for worker in workers:
            worker.join(timeout=120)

    assert failures == []
    assert consumer.handled(stream) == list(range(1, sequence + 1))
    assert (held_back(stream), take_outgoing(stream)) == ([], [])


def _somebody_waits_for_the_position() -> bool:
    with connections[DATABASE].cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND wait_event_type = 'Lock' AND query LIKE '%messaging_streamposition%FOR UPDATE'"
        )
        return bool(cursor.fetchone()[0])


def test_twelve_workers_with_shuffled_copies_keep_every_stream_in_order(consumer):
    streams = [a_stream() for _ in range(4)]
    pending = [an_event(stream, sequence) for sequence in (4, 2, 5, 1, 3, 2, 5) for stream in streams]
    lock, failures = threading.Lock(), []

    def work() -> None:
        try:
            while True:
                with lock:
                    if not pending:
                        return
                    delivery = pending.pop()
                deliver(delivery)
                with lock:
                    pending.extend(take_outgoing(delivery.headers["stream"]))
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    for stream in streams:
        while outgoing := take_outgoing(stream):
            for delivery in outgoing:
                deliver(delivery)

    assert failures == []
    assert [consumer.handled(stream) for stream in streams] == [[1, 2, 3, 4, 5]] * 4
    assert [held_back(stream) for stream in streams] == [[]] * 4


class AskingConsumer:
    """An ordered handler that asks a gateway; `asked` are the numbers it has asked for."""

    def __init__(self, monkeypatch) -> None:
        own_registry(monkeypatch)
        self.asked: list[str] = []
        self.concluded: list[str] = []
        self.problem: Exception | None = None
        ordering.ordered(SERVICE, kind="order", types=[OrderConfirmed, PaymentAuthorized])
        handling._register(
            GatewayHandler(
                service=SERVICE,
                message_type=PaymentAuthorized,
                gateway="mail",
                prepare=lambda event, action: {"authorization": event.authorization},
                call=self._call,
                conclude=self._conclude,
            )
        )

    def _call(self, request, key) -> str:
        self.asked.append(key)
        if self.problem is not None:
            raise self.problem
        return key

    def _conclude(self, event, outcome) -> None:
        self.concluded.append(outcome)


def test_a_handler_that_asks_a_gateway_moves_the_position_with_the_outcome(committed, monkeypatch):
    consumer, stream = AskingConsumer(monkeypatch), a_stream("order")
    first, second = an_event(stream, 1), an_event(stream, 2)

    consumer.problem = TransientError("the gateway is away")
    deliver(first)
    deliver(second)
    assert (position(stream), held_back(stream)) == (0, [2])

    consumer.problem = None
    (retry,) = take_outgoing(stream)
    deliver(retry)
    deliver(first)
    (goes_on,) = take_outgoing(stream)
    deliver(goes_on)
    keys = [delivery.headers["idempotency_key"] for delivery in (first, second)]
    assert consumer.concluded == keys
    assert position(stream) == 2


def test_a_gap_is_listed_with_its_age(consumer, capsys):
    stream = a_stream()
    deliver(an_event(stream, 4))
    deliver(an_event(stream, 5))

    (gap,) = [gap for gap in gaps(SERVICE, before=utc_now()) if gap.stream == stream]
    assert (gap.first, gap.last, gap.held) == (1, 3, 2)
    call_command("streams", "gaps")
    assert f"number 1 to 3 of {stream} is missing, 2 held back" in capsys.readouterr().out


def test_events_that_never_come_are_given_up_with_name_and_reason(consumer):
    stream = a_stream()
    deliver(an_event(stream, 1))
    deliver(an_event(stream, 4))

    call_command("streams", "skip", SERVICE, stream, "3", "--reason", "restored from a backup", "--by", "ada")

    (fourth,) = take_outgoing(stream)
    deliver(fourth)
    deliver(an_event(stream, 3))
    assert consumer.handled(stream) == [1, 4], "what was given up is not handled when it comes after all"
    record = SkippedEvents.objects.using(DATABASE).get(stream=stream)
    assert (record.first_sequence, record.last_sequence) == (2, 3)
    assert (record.skipped_by, record.reason) == ("ada", "restored from a backup")


@pytest.mark.parametrize(
    ("stream", "sequence", "reason", "problem"),
    [
        ("known", "4", "why", "Number 4 of"),
        ("known", "1", "why", "1 is behind it"),
        ("unknown", "1", "why", "knows no stream"),
        ("known", "3", " ", "Say why"),
    ],
)
def test_skipping_never_loses_what_has_arrived(consumer, stream, sequence, reason, problem):
    known = a_stream()
    deliver(an_event(known, 1))
    deliver(an_event(known, 4))
    named = known if stream == "known" else a_stream()

    with pytest.raises(CommandError, match=problem):
        call_command("streams", "skip", SERVICE, named, sequence, "--reason", reason)

    assert (position(known), held_back(known)) == (1, [4])
    assert not SkippedEvents.objects.using(DATABASE).filter(stream=named).exists()


@pytest.mark.parametrize("asks_a_gateway", [False, True], ids=["plain", "asking a gateway"])
def test_an_event_that_was_held_back_longer_than_keys_are_kept_is_handled(
    committed, monkeypatch, asks_a_gateway
):
    """The position tells it from a copy, whatever its age; no key that may be gone is asked."""
    consumer = AskingConsumer(monkeypatch) if asks_a_gateway else OrderedConsumer(monkeypatch)
    stream = a_stream("order" if asks_a_gateway else "payment")
    first, second = an_event(stream, 1), an_event(stream, 2)
    deliver(second)
    limits = KeyRetention.objects.using(DATABASE)
    limits.create(service=SERVICE, keys_kept_since=NOON + timedelta(days=1), raised_at=utc_now())
    try:
        deliver(first)
        (goes_on,) = take_outgoing(stream)
        deliver(goes_on)
    finally:
        limits.filter(service=SERVICE).delete()

    assert position(stream) == 2
    assert len(consumer.concluded if asks_a_gateway else consumer.handled(stream)) == 2
