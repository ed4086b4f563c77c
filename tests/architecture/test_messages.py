"""Every message has somebody who says it and somebody who hears it, and the published topology is the real one."""

import re
from pathlib import Path

import pytest

from contracts.catalogue import MESSAGE_TYPES
from contracts.message import Command, Event
from contracts.operations import ReplaySucceeded
from messaging import topology
from messaging.handling import handlers_of, subscriptions
from sagas.registry import DEFINITIONS

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = sorted(wire_type for wire_type, message in MESSAGE_TYPES.items() if issubclass(message, Command))
EVENTS = sorted(wire_type for wire_type, message in MESSAGE_TYPES.items() if issubclass(message, Event))
REPORTED_BY_CONSUMERS = {ReplaySucceeded.wire_type}
"""Whoever handles a message says so for its service: the services' own code knows nothing of replays."""
REPORTS = {ReplaySucceeded.wire_type}
"""Written by messaging itself, in whichever service has handled a replayed letter."""


def _source(package: str) -> str:
    return "\n".join(path.read_text() for path in (ROOT / package).rglob("*.py"))


def _sent_by_sagas() -> set[str]:
    return set().union(*(saga.command_types() for saga in DEFINITIONS.values()))


def test_everything_handled_has_a_type():
    for service, types in subscriptions().items():
        assert types <= MESSAGE_TYPES.keys(), f"{service} handles what contracts/ does not define"


@pytest.mark.parametrize("wire_type", COMMANDS)
def test_a_command_is_handled_by_its_owner_and_by_nobody_else(wire_type):
    handled_by = [service for service, types in subscriptions().items() if wire_type in types]

    assert handled_by == [MESSAGE_TYPES[wire_type].owner()]


@pytest.mark.parametrize("wire_type", COMMANDS)
def test_a_command_has_a_sender(wire_type):
    name = MESSAGE_TYPES[wire_type].__name__

    senders = _source("sagas") + _source("deadletters") + _source("messaging")
    assert wire_type in _sent_by_sagas() or f"{name}(" in senders


@pytest.mark.parametrize("wire_type", EVENTS)
def test_an_event_is_published_by_its_owner_alone(wire_type):
    message = MESSAGE_TYPES[wire_type]
    if wire_type in REPORTED_BY_CONSUMERS:
        assert f"{message.__name__}(" in _source("messaging")
        return
    made = re.compile(rf"(?<!case )\b{message.__name__}\((?!\))")
    services = sorted({owner.owner() for owner in MESSAGE_TYPES.values()} | {"notifications"})

    owners = [] if wire_type in REPORTS else [message.owner()]
    assert [service for service in services if made.search(_source(service))] == owners


@pytest.mark.parametrize("saga", DEFINITIONS.values(), ids=repr)
def test_every_reply_that_a_saga_waits_for_can_come(saga):
    for step in saga.steps:
        for command, replies in (
            (step.command, (step.done, step.refused)),
            (step.undo, (step.undone,)),
            (step.ask, (step.done, step.refused, step.nothing)),
        ):
            if command is None:
                continue
            assert command.wire_type in handlers_of(command.owner())
            for reply in replies:
                assert reply is None or reply.owner() == command.owner()


def test_the_published_topology_is_the_declared_one():
    declared: dict[str, tuple[set[str], set[str]]] = {}
    for queue, exchange, routing_key in topology.bindings():
        commands, events = declared.setdefault(queue, (set(), set()))
        (commands if exchange is topology.commands else events).add(routing_key)

    assert _published_bindings() == declared


def test_the_published_arguments_of_queues_are_the_declared_ones():
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = dict(re.findall(r"^\| `(x-[a-z-]+)` \| (.*?) \|$", text, flags=re.MULTILINE))
    queue, dead = topology.queue_of("billing"), topology.dead_queue_of("billing")

    assert rows.keys() == queue.queue_arguments.keys() | dead.queue_arguments.keys()
    for name, cells in rows.items():
        published = [cell.strip().strip("`") for cell in cells.split("|")]
        given = [str(each.queue_arguments.get(name, "")) for each in (queue, dead)]
        assert published == [value.replace("billing", "the queue's name") for value in given], name


def _published_bindings() -> dict[str, tuple[set[str], set[str]]]:
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.split("| queue | bound to `commands` | bound to `events` |")[1].split("\n\n")[0]
    published = {}
    for row in table.splitlines()[2:]:
        queue, commands, events = (set(re.findall(r"`([^`]+)`", cell)) for cell in row.strip("|").split("|"))
        published[queue.pop()] = (commands, events)
    return published
