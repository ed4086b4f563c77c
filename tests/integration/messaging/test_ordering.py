"""An ordered consumer is given each stream's events once, in order, whatever the broker does."""

import threading

import pytest
from django.db import connections

from contracts.billing import PaymentAuthorized, PaymentCaptured
from contracts.operations import ReplaySucceeded
from messaging import handling, ordering, replays, topology
from messaging.errors import PermanentError, TransientError
from messaging.handling import Handler
from messaging.models import HeldBackMessage, IdempotencyKey, OutboxMessage
from messaging.settlement import Rejected
from tests.at_once import at_once
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
    position,
    replay_of,
    take_outgoing,
)

pytestmark = pytest.mark.usefixtures("committed")


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
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if not pending:
                    return
                delivery = pending.pop()
            deliver(delivery)
            with lock:
                pending.extend(take_outgoing(delivery.headers["stream"]))

    at_once(*[work] * 12)
    for stream in streams:
        while outgoing := take_outgoing(stream):
            for delivery in outgoing:
                deliver(delivery)

    assert [consumer.handled(stream) for stream in streams] == [[1, 2, 3, 4, 5]] * 4
    assert [held_back(stream) for stream in streams] == [[]] * 4
