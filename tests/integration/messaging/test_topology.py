"""Exchanges and queues: declared as often as one likes, and never silently different."""

import pytest
from django.conf import settings
from kombu import Connection, Queue

from contracts.orders import ContactGiven, OrderPlaced
from messaging import topology


def test_the_topology_may_be_declared_again(broker):
    first = topology.declare(broker)

    assert topology.declare(broker) == first
    assert set(first) == {name for service in topology.services() for name in (service, f"{service}.dead")}
    assert {*settings.SERVICES} == set(topology.services())


def test_a_queue_with_other_arguments_is_named_and_left_alone(broker, broker_url):
    queue = topology.queue_of("shipping")
    with Connection(broker_url) as connection:
        connection.default_channel.queue_delete("shipping")
        Queue("shipping", durable=True, queue_arguments={"x-queue-type": "classic"})(
            connection.default_channel
        ).queue_declare()
        try:
            for check in (topology.declare, lambda c: topology.verify(c, "shipping")):
                with (
                    Connection(broker_url) as other,
                    pytest.raises(
                        topology.TopologyError,
                        match=r"'shipping' exists with other arguments.*migrate_queue shipping",
                    ),
                ):
                    check(other)
        finally:
            connection.default_channel.queue_delete("shipping")
    topology.declare(broker)
    assert queue.queue_arguments["x-queue-type"] == "quorum"


def test_a_missing_queue_is_named_with_what_to_run(broker, broker_url):
    with Connection(broker_url) as connection:
        connection.default_channel.queue_delete("shipping")
    try:
        for check in (topology.depths, lambda c: topology.verify(c, "shipping")):
            with (
                Connection(broker_url) as other,
                pytest.raises(
                    topology.TopologyError, match=r"no queue 'shipping'.*manage.py declare_topology"
                ),
            ):
                check(other)
    finally:
        topology.declare(broker)


def test_what_a_consumer_rejects_is_moved_to_the_dead_letters_by_the_broker(broker, take, eventually):
    channel = broker.default_channel
    producer = broker.Producer()
    producer.publish({}, exchange="commands", routing_key="billing.authorize_payment")

    def delivered():
        return channel.basic_get("billing", no_ack=False)

    message = eventually(delivered)
    channel.basic_reject(message.delivery_tag, requeue=False)

    (dead,) = eventually(lambda: take("billing.dead"))
    assert dead.headers["x-death"][0]["reason"] == "rejected"
    assert dead.headers["x-death"][0]["queue"] == "billing"


def test_an_event_is_only_sent_where_somebody_handles_it():
    assert topology.has_subscriber(OrderPlaced.wire_type)
    assert not topology.has_subscriber(ContactGiven.wire_type)
