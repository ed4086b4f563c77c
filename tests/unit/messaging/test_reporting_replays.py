"""A replay that was handled is reported to whoever waits for its end."""

from uuid import uuid4

import pytest

from contracts.operations import ReplaySucceeded
from messaging import replays, topology
from tests.builders import NOON, an_envelope, reserve_stock


def test_the_report_names_the_replay_and_is_caused_by_the_message():
    command = reserve_stock(uuid4())
    handled = an_envelope(
        command, replay_id=uuid4(), traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    )

    report = replays.succeeded(handled, service="inventory", now=NOON)

    assert ReplaySucceeded.from_payload(report.body) == ReplaySucceeded(
        replay_id=handled.replay_id, message_id=handled.message_id
    )
    assert (report.service, report.exchange, report.routing_key) == (
        "inventory",
        topology.EVENTS,
        "operations.replay_succeeded.v1",
    )
    assert report.envelope.message_id != handled.message_id
    assert report.envelope.replay_id is None
    assert report.envelope.causation_id == handled.message_id
    assert report.envelope.correlation_id == handled.correlation_id
    assert report.envelope.traceparent[:36] == handled.traceparent[:36]


def test_what_is_no_replay_cannot_be_reported():
    with pytest.raises(ValueError, match="no replay"):
        replays.succeeded(an_envelope(reserve_stock(uuid4())), service="inventory", now=NOON)


@pytest.mark.parametrize(
    ("is_replay", "is_heard", "is_awaited"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
def test_only_a_replay_that_somebody_asks_after_is_reported(monkeypatch, is_replay, is_heard, is_awaited):
    monkeypatch.setattr(topology, "has_subscriber", lambda wire_type: is_heard)
    envelope = an_envelope(reserve_stock(uuid4()), replay_id=uuid4() if is_replay else None)

    assert replays.is_awaited(envelope) is is_awaited
