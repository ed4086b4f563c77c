"""`/metrics` of the web process: what the databases and the broker hold at this moment.

What a process does is told by the process itself, on its own port (`messaging.process_port`).
"""

from collections.abc import Iterator

from amqp.exceptions import AMQPError
from django.conf import settings
from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET
from kombu import Connection
from kombu.exceptions import OperationalError
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder

from messaging import gauges, topology
from messaging.metrics_access import refusal


@require_GET
def metrics(request: HttpRequest) -> HttpResponse:
    """The figures in Prometheus' format; 403 for whoever may not read them."""
    reason = refusal(request.META.get("REMOTE_ADDR", ""), request.headers.get)
    if reason is not None:
        return HttpResponse(f"{reason}\n", status=403, content_type="text/plain; charset=utf-8")
    registry = CollectorRegistry()
    registry.register(Stored())
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(registry), content_type=content_type)


class Stored:
    """A collector that asks when it is asked. What is away is told as such, and the rest all the same."""

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing: registering is not to ask."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Figures of every database, then of the broker."""
        yield from self._databases()
        yield from self._broker()

    def _databases(self) -> Iterator[GaugeMetricFamily]:
        up = GaugeMetricFamily("makegood_database_up", "1 where the database answers.", labels=["database"])
        families = {
            gauge.name: GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.labels)
            for gauge in gauges.gauges()
        }
        for alias in sorted(set(settings.SERVICES.values())):
            try:
                figures = gauges.read(alias)
            except Error:
                up.add_metric([alias], 0)
                continue
            up.add_metric([alias], 1)
            for figure in figures:
                families[figure.gauge.name].add_metric(figure.labels, figure.value)
        yield up
        yield from families.values()

    def _broker(self) -> Iterator[GaugeMetricFamily]:
        up = GaugeMetricFamily("makegood_broker_up", "1 where the broker answers.")
        missing = GaugeMetricFamily(
            "makegood_queue_missing", "1 for a queue that is not there.", labels=["queue"]
        )
        ready = GaugeMetricFamily(
            "makegood_queue_messages", "Messages that wait in a queue.", labels=["queue"]
        )
        consumers = GaugeMetricFamily("makegood_queue_consumers", "Consumers of a queue.", labels=["queue"])
        dead = GaugeMetricFamily(
            "makegood_dead_letter_queue_messages",
            "Dead letters that the collector has not stored yet.",
            labels=["service"],
        )
        try:
            with Connection(settings.BROKER_URL, connect_timeout=2) as connection:
                connection.ensure_connection(max_retries=0, timeout=2)
                found = topology.states(connection)
        except (OSError, AMQPError, OperationalError):
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        for name, state in found.items():
            if state is None:
                missing.add_metric([name], 1)
                continue
            messages, consuming = state
            if name.endswith(topology.DEAD):
                dead.add_metric([name.removesuffix(topology.DEAD)], messages)
            else:
                ready.add_metric([name], messages)
            consumers.add_metric([name], consuming)
        yield from (up, missing, ready, consumers, dead)
