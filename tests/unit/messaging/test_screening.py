"""Which messages a worker lets in."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from messaging.errors import InvalidMessage
from messaging.screening import ScreeningConsumer, screened

TASK = "inventory.reserve_stock.v1"
TASKS = {TASK: SimpleNamespace(service="inventory")}


def message(payload: Any, **headers: Any) -> Any:
    return SimpleNamespace(
        content_type="application/json",
        headers={"id": "1", "task": TASK, **headers},
        body=json.dumps([[payload], {}, {}]),
    )


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": [value]}
    return value


def test_a_message_with_a_few_levels_is_let_in():
    assert screened(message(nested(10)), tasks=TASKS)[0] == [nested(10)]


@pytest.mark.parametrize("levels", [60, 240, 300, 400])
def test_what_json_can_hold_and_no_child_can_be_given_is_kept_out(levels):
    with pytest.raises(InvalidMessage, match="levels"):
        screened(message(nested(levels)), tasks=TASKS)


def test_headers_that_are_too_deep_are_kept_out():
    with pytest.raises(InvalidMessage, match="levels"):
        screened(message({}, traceparent=nested(200)), tasks=TASKS)


@pytest.mark.parametrize("shadow", [[1], {"a": 1}, "another name"])
def test_no_message_may_bear_another_name_than_its_type(shadow):
    with pytest.raises(InvalidMessage, match="shadow"):
        screened(message({}, shadow=shadow), tasks=TASKS)


@pytest.fixture
def consumer() -> ScreeningConsumer:
    """A consumer that has been reading at full speed, as far as it matters here."""
    consumer: ScreeningConsumer = ScreeningConsumer.__new__(ScreeningConsumer)
    consumer.app = Celery("screened", set_as_current=False)
    consumer.app.conf.worker_cancel_long_running_tasks_on_connection_loss = True
    consumer.connection = None
    consumer.controller = None
    consumer.task_buckets = {}
    consumer.pool = SimpleNamespace(num_processes=2, flush=None)
    consumer.prefetch_multiplier = 4
    consumer.qos_global = False
    consumer.initial_prefetch_count = 1
    consumer.dispatcher = SimpleNamespace(forget=lambda: None)
    consumer.hub = SimpleNamespace(call_later=lambda *_: None)
    consumer._is_slow = False
    consumer._is_flush_due = False
    return consumer


def test_the_first_message_of_a_new_connection_has_no_neighbours(consumer):
    consumer.on_connection_error_after_connected(OSError("the broker went away"))
    consumer.on_close()

    assert consumer._is_slow
    assert consumer.initial_prefetch_count == 1


def test_events_are_flushed_on_a_new_connection_though_the_timer_was_lost_with_the_old_one(consumer):
    flushes = []
    consumer.on_send_event_buffered()
    consumer.on_close()
    consumer.hub.call_later = lambda _, flush: flushes.append(flush)

    consumer.on_send_event_buffered()

    assert len(flushes) == 1
