"""What surrounds the handling of a message: the names in the log, and the span."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import TypeVar

from messaging import log_context, tracing
from messaging.delivery import Delivery

Result = TypeVar("Result")


def observed(handle: Callable[[str, Delivery], Result]) -> Callable[[str, Delivery], Result]:
    """Have a function that handles a delivery for a service seen in log and trace, also where it cannot be read."""

    @wraps(handle)
    def handle_observed(service: str, delivery: Delivery) -> Result:
        with observing(delivery, service=service):
            return handle(service, delivery)

    return handle_observed


@contextmanager
def observing(delivery: Delivery, *, service: str) -> Iterator[None]:
    """Inside, this delivery is being handled."""
    headers = delivery.headers
    with log_context.handling(headers, service=service), tracing.handling(headers, service=service):
        yield


@contextmanager
def observing_batch(deliveries: Sequence[Delivery], *, service: str) -> Iterator[None]:
    """Inside, these deliveries are being handled together: log lines name the service only."""
    with (
        log_context.handling({}, service=service),
        tracing.handling_batch([delivery.headers for delivery in deliveries], service=service),
    ):
        yield
