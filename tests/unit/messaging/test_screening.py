"""Which messages a worker lets in."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from messaging.errors import InvalidMessage
from messaging.screening import screened

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
