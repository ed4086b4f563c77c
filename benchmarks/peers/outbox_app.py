"""The Celery application whose outbox django-celery-outbox relays, with publisher confirms."""

import logging
import os

import structlog
from django_celery_outbox import OutboxCelery
from kombu import Queue

from benchmarks.peers.outbox_names import QUEUE

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))

app = OutboxCelery("peer", broker=os.environ["BROKER_URL"])
app.conf.update(
    broker_transport_options={"confirm_publish": True},
    task_queues=[Queue(QUEUE, durable=True, queue_arguments={"x-queue-type": "quorum"})],
    task_default_queue=QUEUE,
    task_ignore_result=True,
    task_send_sent_event=False,
)
