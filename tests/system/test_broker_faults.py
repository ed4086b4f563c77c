"""Whatever the broker and the way to it do: what is in the outbox arrives, and has its effect once."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from messaging.envelope import new_message_id
from messaging.models import OutboxMessage
from tests.faults.proxy import Proxy
from tests.faults.workshop import WORKER, Trouble, Workshop, a_row, put_in_the_outbox
from tests.running_shop import wait_until

AWAY = float(os.environ.get("MAKEGOOD_AWAY_SECONDS", "6"))
"""Seconds that a server is away; a minute or more shows the same."""
LIMIT = 100_000
"""Bytes of the largest message, where a test lets the broker have such a limit."""
WELL = ("well", 0, 0.0)


def waiting() -> list[OutboxMessage]:
    return list(OutboxMessage.objects.order_by("id"))


def assert_each_had_one_effect(workshop: Workshop, troubles: list[Trouble]) -> None:
    workshop.wait_for_effect(*troubles)
    wait_until(lambda: not waiting(), what="the outbox to be empty")
    workshop.wait_until_idle()
    assert {workshop.effects(trouble) for trouble in troubles} == {1}
    assert [failure for trouble in troubles for failure in workshop.failures(trouble)] == []
    assert workshop.take_dead("trouble") == []


@contextmanager
def broker_setting(workshop: Workshop, name: str, value: str) -> Iterator[None]:
    """Inside, new channels of the broker go by this value."""
    before = workshop.control_broker("eval", f"{{ok, V}} = application:get_env(rabbit, {name}), V.").strip()
    workshop.control_broker("eval", f"application:set_env(rabbit, {name}, {value}).")
    try:
        yield
    finally:
        workshop.control_broker("eval", f"application:set_env(rabbit, {name}, {before}).")


def make_due(rows: list[OutboxMessage]) -> None:
    """As an operator does who has removed the cause and does not want to wait."""
    for row in rows:
        row.available_at = row.created_at
        row.save()


def test_a_message_over_the_brokers_limit_is_set_aside_and_holds_up_no_other(workshop: Workshop) -> None:
    with broker_setting(workshop, "max_message_size", str(LIMIT)):
        workshop.relay_broker.reset()  # a channel keeps the limit that it was opened with
        large = workshop.send("well" + " " * 2 * LIMIT)
        others = workshop.send_all([WELL] * 20)
        workshop.wait_for_effect(*others)

        wait_until(lambda: [row.failures > 0 for row in waiting()] == [True], what="the row to be set aside")
        (row,) = waiting()
        assert row.message_id == large.message_id
        assert "larger than configured max size" in row.last_error
        assert row.available_at > row.created_at, "it is tried again later"
    assert {workshop.effects(trouble) for trouble in others} == {1}


def test_what_the_broker_returns_or_closes_the_channel_for_is_set_aside_and_holds_up_no_other(
    workshop: Workshop,
) -> None:
    unroutable, no_exchange = new_message_id(), new_message_id()
    put_in_the_outbox(
        [
            a_row(message_id=unroutable, body={}, routing_key="nobody.listens"),
            a_row(message_id=no_exchange, body={}, exchange="no-such-exchange"),
        ]
    )
    others = workshop.send_all([WELL] * 20)
    workshop.wait_for_effect(*others)

    wait_until(lambda: [row.failures > 0 for row in waiting()] == [True] * 2, what="the rows to be set aside")
    errors = {row.message_id: row.last_error for row in waiting()}
    assert "no queue takes it: exchange 'commands', routing key 'nobody.listens'" in errors[unroutable]
    assert "no exchange 'no-such-exchange'" in errors[no_exchange]
    assert {workshop.effects(trouble) for trouble in others} == {1}


def test_what_a_full_queue_refuses_stays_in_the_outbox_until_there_is_room(workshop: Workshop) -> None:
    workshop.processes.stop(WORKER)
    with workshop.policy("trouble", {"max-length": 5}):
        try:
            troubles = workshop.send_all([WELL] * 10)
            wait_until(lambda: not waiting(), what="the queue to be filled over its limit")
            # A quorum queue tells its publishers that it is full; what is under way until then it takes.
            while not any("the broker refused it (nack)" in row.last_error for row in waiting()):
                assert len(troubles) < 500, "the queue is never full"
                troubles += workshop.send_all([WELL] * 5)
                wait_until(
                    lambda: all(row.failures for row in waiting()), what="the relay to have tried them"
                )
        finally:
            workshop.processes.start(WORKER)

        assert_each_had_one_effect(workshop, troubles)


@pytest.mark.parametrize(
    ("alarm", "all_clear"),
    [
        (("set_vm_memory_high_watermark", "0"), ("set_vm_memory_high_watermark", "0.4")),
        (("set_disk_free_limit", "999GB"), ("set_disk_free_limit", "50MB")),
    ],
    ids=["memory", "disk"],
)
def test_an_alarm_of_the_broker_holds_messages_back_and_loses_none(
    workshop: Workshop, alarm: tuple[str, ...], all_clear: tuple[str, ...]
) -> None:
    workshop.control_broker(*alarm)
    try:
        # The first publication is what the broker blocks the connection for.
        troubles = [workshop.send("well", times=0)]
        wait_until(lambda: workshop.said("the broker has blocked publishing"), what="the relay to be told")
        troubles += workshop.send_all([WELL] * 20)
        assert len(waiting()) >= 20
    finally:
        workshop.control_broker(*all_clear)

    assert_each_had_one_effect(workshop, troubles)


@pytest.mark.parametrize("side", ["relay_broker", "worker_broker"])
@pytest.mark.parametrize("fault", ["reset", "cut", "slow"])
def test_a_broken_connection_repeats_messages_and_no_effect(
    workshop: Workshop, side: str, fault: str
) -> None:
    proxy: Proxy = getattr(workshop, side)
    if fault == "slow":
        proxy.slow_down(0.05)
    troubles = workshop.send_all([WELL] * 100)
    for _ in range(3):
        before = proxy.accepted
        if fault == "reset":
            proxy.reset()
        if fault == "cut":
            proxy.cut(after=1001)
        troubles += workshop.send_all([WELL] * 20)  # a cut happens only where there is traffic
        if fault != "slow":
            wait_until(lambda before=before: proxy.accepted > before, what="a new connection")

    assert_each_had_one_effect(workshop, troubles)


@pytest.mark.parametrize("side", ["relay_broker", "worker_broker"])
def test_a_half_open_connection_is_given_up_and_made_anew(workshop: Workshop, side: str) -> None:
    proxy: Proxy = getattr(workshop, side)
    in_hand = workshop.send("sleep", times=1, seconds=1)
    wait_until(lambda: workshop.runs(in_hand), what="the handler to begin")
    proxy.go_dark()
    troubles = workshop.send_all([WELL] * 20)
    accepted = proxy.accepted
    wait_until(lambda: proxy.accepted > accepted, what="the connection to be given up", timeout=100)
    proxy.heal()

    assert_each_had_one_effect(workshop, [in_hand, *troubles])


def test_a_broker_that_is_away_for_long_loses_nothing(workshop: Workshop) -> None:
    in_hand = workshop.send("sleep", times=1, seconds=1)
    wait_until(lambda: workshop.runs(in_hand), what="the handler to begin")
    workshop.relay_broker.refuse()
    workshop.worker_broker.refuse()
    troubles = workshop.send_all([WELL] * 20)
    workshop.let_pass(AWAY)
    assert len(waiting()) == 20
    workshop.heal()

    assert_each_had_one_effect(workshop, [in_hand, *troubles])


def test_a_handler_slower_than_the_brokers_patience_has_one_effect(workshop: Workshop) -> None:
    """The broker closes the channel of a consumer that acknowledges too late, and delivers the message again."""
    with (
        broker_setting(workshop, "consumer_timeout", "500"),
        broker_setting(workshop, "channel_tick_interval", "200"),
    ):
        workshop.worker_broker.reset()  # a channel keeps the timeout that it was opened with
        workshop.wait_for_consumer()
        slow = workshop.send("sleep", times=1, seconds=1.5)
        neighbours = workshop.send_all([WELL] * 10)
        workshop.wait_for_effect(slow, *neighbours)
    workshop.worker_broker.reset()
    workshop.wait_for_consumer()

    assert_each_had_one_effect(workshop, [slow, *neighbours])
    assert "timed out" in workshop.broker_log(), "the broker has not been impatient"
