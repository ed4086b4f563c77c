"""A Celery worker that serves one service: a task for each message type that the service handles.

The task's name is the message type, so Celery's events and Flower show the business.
"""

import gc
import sys
from collections.abc import Callable
from typing import Any

from celery import Celery, signals
from celery.worker.consumer.delayed_delivery import DelayedDelivery
from django.conf import settings
from kombu import Connection

from messaging import topology
from messaging.checks import refuse_unsafe_worker
from messaging.database import name_sessions
from messaging.errors import MessagingError
from messaging.handling import AnyHandler, Handler, handlers_of
from messaging.properties import tolerate_any_properties
from messaging.worker_port import tell_on_port


def serve(app: Celery, service: str) -> None:
    """Make the application a worker of this service: its handlers, its queue and nothing else."""
    tolerate_any_properties()
    name_sessions(service, database=settings.SERVICES[service])
    queue = topology.queue_of(service)
    queue.no_declare = True
    app.conf.task_queues = [queue]
    app.conf.task_default_queue = service
    app.conf.worker_consumer = "messaging.screening:ScreeningConsumer"
    # A worker publishes its events only, and would wait for a confirm of each.
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, "confirm_publish": False}
    # Our delays go through the outbox. This step connects to every URL of the list at each reconnect and keeps a
    # worker idle while one node of a cluster is down.
    DelayedDelivery.include_if = lambda self, consumer: False
    for wire_type, handler in handlers_of(service).items():
        app.task(
            _only_by_message,
            name=wire_type,
            shared=False,
            Strategy="messaging.dispatching:strategy",
            service=service,
            batch=_batch_of(handler),
            is_quick=isinstance(handler, Handler),
        )
    tell_on_port(app, databases=[settings.SERVICES[service]])
    signals.worker_init.connect(refuse_unsafe_worker)
    signals.worker_init.connect(_verifier(app, service), weak=False)
    signals.worker_init.connect(_share_with_children)


def _share_with_children(**_: Any) -> None:
    """Keep what is loaded by now out of the garbage collector's way.

    A collection in a child would write to every object that it shares with its parent, and so copy all of them.
    """
    gc.collect()
    gc.freeze()


def _batch_of(handler: AnyHandler) -> int:
    return handler.batch if isinstance(handler, Handler) else 1


def _only_by_message(payload: Any) -> None:
    raise MessagingError("A handler is run by the messages of its queue, through messaging/dispatching.py.")


def _verifier(app: Celery, service: str) -> Callable[..., None]:
    def verify(**_: Any) -> None:
        try:
            with Connection(app.conf.broker_url) as connection:
                topology.verify(connection, service)
        except topology.TopologyError as error:
            sys.exit(f"The {service} worker cannot start. {error}")

    return verify
