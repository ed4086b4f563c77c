"""Shuffled, duplicated, failing, lost and replayed: whatever happens to deliveries, each stream is handled in order."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from messaging.delivery import Delivery
from messaging.envelope import Envelope
from messaging.errors import PermanentError, TransientError
from messaging.settlement import Rejected
from tests.integration.messaging.ordered_consumer import (
    STREAM_TYPES,
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

FAILURES: dict[str, Callable[[], Exception]] = {
    "transient": lambda: TransientError("not this time"),
    "unexpected": lambda: ZeroDivisionError("a mistake"),
    "permanent": lambda: PermanentError("a dead letter"),
}


class Fate(NamedTuple):
    """What is going to happen to one event: copies, failures of its handler, and whether it is lost at first."""

    place: tuple[int, int]
    copies: int
    failures: list[str]
    is_lost: bool


@st.composite
def fates(draw: Any) -> list[Fate]:
    """Of every event of one to three streams."""
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    return [
        Fate(
            (stream, sequence),
            draw(st.integers(1, 3)),
            draw(st.lists(st.sampled_from(sorted(FAILURES)), max_size=2)),
            draw(st.booleans()) and draw(st.booleans()),
        )
        for stream, length in enumerate(lengths)
        for sequence in range(1, length + 1)
    ]


class Broker:
    """The consumer's queue, its dead letters, and the outbox that feeds it; `choose` picks the next delivery."""

    def __init__(self, streams: list[str], choose: Callable[[int], int]) -> None:
        self.streams = streams
        self.choose = choose
        self.queue: list[Delivery] = []
        self.letters: dict[Any, Delivery] = {}

    def run(self) -> None:
        """Deliver until neither queue nor outbox holds anything."""
        while self.queue or self._relay():
            delivery = self.queue.pop(self.choose(len(self.queue)))
            try:
                deliver(delivery)
            except Rejected:
                self.letters[delivery.headers["message_id"]] = delivery
            if self.choose(2):
                self._relay()

    def replay(self) -> bool:
        """Put every dead letter back; False where there is none."""
        letters, self.letters = self.letters, {}
        self.queue += [replay_of(letter) for letter in letters.values()]
        return bool(letters)

    def _relay(self) -> bool:
        outgoing = [delivery for stream in self.streams for delivery in take_outgoing(stream)]
        self.queue += outgoing
        return bool(outgoing)


@given(fates(), st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_each_stream_is_handled_once_and_in_order(monkeypatch, events: list[Fate], data):
    with monkeypatch.context() as patched:
        consumer = OrderedConsumer(patched)
        streams = [a_stream() for _ in range(1 + max(fate.place[0] for fate in events))]
        left = {(streams[fate.place[0]], fate.place[1]): list(fate.failures) for fate in events}

        def fail(envelope: Envelope) -> None:
            failures = left[envelope.stream, envelope.sequence]
            if failures:
                raise FAILURES[failures.pop()]()

        consumer.before = fail
        broker = Broker(streams, choose=lambda size: data.draw(st.integers(0, size - 1)) if size > 1 else 0)
        lost: list[Delivery] = []
        for fate in events:
            event_type = STREAM_TYPES[0] if fate.place[1] % 2 else STREAM_TYPES[1]
            stream = streams[fate.place[0]]
            delivery = an_event(stream, fate.place[1], event_type=event_type)
            (lost if fate.is_lost else broker.queue).extend([delivery] * fate.copies)
        note(str(events))

        broker.run()
        for stream in streams:
            handled = consumer.handled(stream)
            assert handled == list(range(1, len(handled) + 1)), "nothing is handled before its predecessor"
            assert position(stream) in (None, len(handled))
        broker.queue += [replay_of(delivery) for delivery in lost]
        broker.run()
        while broker.replay():
            broker.run()

        for number, stream in enumerate(streams):
            length = sum(fate.place[0] == number for fate in events)
            assert consumer.handled(stream) == list(range(1, length + 1))
            assert (held_back(stream), position(stream)) == ([], length)
