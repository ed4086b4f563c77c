"""What the broker tells of the queues, in a second or not at all."""

from concurrent.futures import ThreadPoolExecutor

import msgspec
from amqp.exceptions import AMQPError
from django.conf import settings
from kombu import Connection
from kombu.exceptions import OperationalError

from messaging import topology

PATIENCE = 1.0
"""Seconds that a page waits for the broker."""


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """Messages that are ready, and who consumes; both None where the broker has no such queue."""

    name: str
    waiting: int | None
    consumers: int | None


class Broker(msgspec.Struct, frozen=True, kw_only=True):
    """Every queue that the topology declares, or what keeps the broker from telling."""

    queues: list[Queue]
    problem: str = ""


class Asking:
    """A look at every queue that goes on beside what its beginner does meanwhile."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="queues")
        self._states = self._thread.submit(_states, settings.BROKER_URL)

    def answer(self, *, within: float = PATIENCE) -> Broker:
        """The queues, or what is wrong with the broker, after so many seconds at most."""
        try:
            states = self._states.result(timeout=within)
        except TimeoutError:
            return Broker(queues=[], problem=f"the broker has not answered within {within:g} s")
        except (OSError, OperationalError, AMQPError) as error:
            return Broker(queues=[], problem=f"the broker does not answer ({type(error).__name__})")
        finally:
            self._thread.shutdown(wait=False)
        return Broker(
            queues=[
                Queue(name=name, waiting=state[0] if state else None, consumers=state[1] if state else None)
                for name, state in states.items()
            ]
        )


def _states(url: str) -> dict[str, tuple[int, int] | None]:
    """Each read and write has a time limit too, so that the thread ends soon after nobody waits for it any more."""
    limits = {"read_timeout": PATIENCE, "write_timeout": PATIENCE}
    with Connection(url, connect_timeout=PATIENCE, transport_options=limits) as connection:
        connection.ensure_connection(max_retries=0, timeout=PATIENCE)
        return topology.states(connection)
