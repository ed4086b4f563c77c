"""A Celery worker's main process on its port: alive while its event loop turns, ready while it consumes."""

from typing import Any

from celery import Celery, bootsteps

from messaging import vitality
from messaging.process_port import open_port

LOOP = "worker"
_TURN = 1.0


class TellWhetherConsuming(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery carries no types
    """Started whenever the worker has begun to consume, stopped whenever its connection is lost."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._entry: Any = None

    def start(self, consumer: Any) -> None:
        """Have the loop say that it turns."""
        vitality.begin(LOOP)
        vitality.go_on()
        vitality.waits(LOOP, None)
        self._entry = consumer.timer.call_repeatedly(_TURN, vitality.turned)

    def stop(self, consumer: Any) -> None:
        """Without a connection there is no loop that could turn: Celery tries to connect, without end."""
        if self._entry is not None:
            self._entry.cancel()
        vitality.waits(LOOP, "it does not consume; the broker is away, or the worker is ending")
        vitality.pause()


def tell_on_port(app: Celery, *, databases: list[str]) -> None:
    """Have workers of this application open their port once their children are there, before they connect."""

    class OpenPort(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery carries no types
        requires = ("celery.worker.components:Pool",)

        def start(self, worker: Any) -> None:
            vitality.begin(LOOP)
            vitality.pause()
            vitality.waits(LOOP, "it does not consume yet")
            open_port(databases=databases)

    app.steps["worker"].add(OpenPort)
    app.steps["consumer"].add(TellWhetherConsuming)


def tell_beat(beat: Any) -> None:
    """Have beat open its port. It is alive while its schedule is looked at.

    Between two looks it may sleep for `beat_max_loop_interval`, which is to be shorter than PROCESS_STALL.
    """
    tick = beat.scheduler.tick
    vitality.begin("beat")

    def tick_and_tell(*args: Any, **kwargs: Any) -> Any:
        vitality.turned()
        return tick(*args, **kwargs)

    beat.scheduler.tick = tick_and_tell
    open_port(databases=[])
