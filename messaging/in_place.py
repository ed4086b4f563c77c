"""What passes by itself is repeated at once, with the message in hand."""

from collections.abc import Callable

from django.db import Error

from eventstore.errors import ConcurrentAppend
from messaging.database import is_repeatable

MOST_REPETITIONS = 20


def is_passing(error: Error | ConcurrentAppend) -> bool:
    """Whether the same transaction may succeed at once."""
    return isinstance(error, ConcurrentAppend) or is_repeatable(error)


def repeated_in_place(transaction: Callable[[], None]) -> None:
    """Run a whole transaction until nothing passing is in its way; raises the last error after many in vain.

    For what follows a call to a gateway: its answer is in our hands, and another delivery would have to wait for the
    lease.
    """
    for _ in range(MOST_REPETITIONS):
        try:
            transaction()
        except (Error, ConcurrentAppend) as error:
            if not is_passing(error):
                raise
        else:
            return
    transaction()
