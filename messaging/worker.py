"""A Celery worker that serves one service: a task for each message type that the service handles.

The task's name is the message type, so Celery's events and Flower show the business.
"""

import sys
from collections.abc import Callable
from typing import Any

from celery import Celery, signals
from celery.exceptions import Reject
from celery.worker.consumer.delayed_delivery import DelayedDelivery
from django.conf import settings
from kombu import Connection

from messaging import topology
from messaging.consumer import consume
from messaging.delivery import Delivery
from messaging.envelope import Envelope
from messaging.handling import handlers_of
from messaging.settlement import Rejected
from messaging.worker_port import tell_on_port

_ENVELOPE = Envelope.__struct_fields__


def serve(app: Celery, service: str) -> None:
    """Make the application a worker of this service: its handlers, its queue and nothing else."""
    queue = topology.queue_of(service)
    queue.no_declare = True
    app.conf.task_queues = [queue]
    app.conf.task_default_queue = service
    app.conf.worker_consumer = "messaging.screening:ScreeningConsumer"
    # Our delays go through the outbox. This step connects to every URL of the list at each reconnect and keeps a
    # worker idle while one node of a cluster is down.
    DelayedDelivery.include_if = lambda self, consumer: False
    for wire_type in handlers_of(service):
        app.task(_task_for(service), bind=True, name=wire_type, shared=False)
    tell_on_port(app, databases=[settings.SERVICES[service]])
    signals.worker_init.connect(_verifier(app, service), weak=False)


def _task_for(service: str) -> Callable[..., None]:
    def handle(task: Any, payload: Any = None) -> None:
        request = task.request
        delivery = Delivery(
            headers={
                name: value for name in _ENVELOPE if (value := getattr(request, name, None)) is not None
            },
            payload=payload,
            exchange=request.delivery_info.get("exchange") or "",
            routing_key=request.delivery_info.get("routing_key") or "",
            is_redelivered=bool(request.delivery_info.get("redelivered")),
        )
        try:
            consume(service, delivery)
        except Rejected as error:
            raise Reject(str(error), requeue=False) from error

    return handle


def _verifier(app: Celery, service: str) -> Callable[..., None]:
    def verify(**_: Any) -> None:
        try:
            with Connection(app.conf.broker_url) as connection:
                topology.verify(connection, service)
        except topology.TopologyError as error:
            sys.exit(f"The {service} worker cannot start. {error}")

    return verify
