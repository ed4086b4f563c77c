"""Every background process of a running shop answers on its own port, and tells what it has done."""

import json
import urllib.error
import urllib.request

import pytest
from django.conf import settings
from prometheus_client.parser import text_string_to_metric_families

from eventstore.models import StoredEvent
from launcher.environment import WORKERS
from launcher.processes import BEAT, COLLECTOR, ORCHESTRATOR, RELAY, worker
from messaging import tracing
from tests.running_shop import wait_until

BACKGROUND = [RELAY, ORCHESTRATOR, COLLECTOR, BEAT, *map(worker, WORKERS)]


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def figures(port: int, name: str) -> float:
    """The sum of a figure of a process, over all labels."""
    families = text_string_to_metric_families(ask(port, "/metrics")[1])
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)


@pytest.mark.parametrize("name", BACKGROUND)
def test_a_process_is_alive_and_ready(shop, name):
    port = shop.ports[name]

    wait_until(lambda: ask(port, "/readyz")[0] == 200, what=f"{name} to be ready: {ask(port, '/readyz')}")
    assert json.loads(ask(port, "/healthz")[1]) == {"status": "alive", "missing": []}
    assert figures(port, "process_resident_memory_bytes") > 0


def test_processes_count_what_they_do(shop):
    relay, orchestrator, billing = (shop.ports[name] for name in (RELAY, ORCHESTRATOR, worker("billing")))
    published = figures(relay, "makegood_relay_messages_total")
    handled = figures(billing, "makegood_message_handling_seconds_count")
    decided = figures(orchestrator, "makegood_message_handling_seconds_count")

    shop.settle(shop.place_order())

    # A message is counted after it is settled, so the last ones may be counted after the order is finished.
    for port, name, least in (
        (relay, "makegood_relay_messages_total", published + 10),
        (orchestrator, "makegood_message_handling_seconds_count", decided + 6),
        (billing, "makegood_message_handling_seconds_count", handled + 2),
        (orchestrator, "makegood_orchestrator_batch_size_count", 1),
    ):
        wait_until(lambda p=port, n=name, m=least: figures(p, n) >= m, what=f"{name} to be {least}")


def test_a_worker_that_was_killed_answers_on_the_same_port_again(shop):
    name = worker("billing")
    port = shop.ports[name]
    wait_until(lambda: ask(port, "/readyz")[0] == 200, what="the worker to be ready")
    started = figures(port, "process_start_time_seconds")

    shop.processes.wait_for_new(name, after=shop.processes.kill(name), timeout=60)

    wait_until(
        lambda: ask(port, "/readyz")[0] == 200 and figures(port, "process_start_time_seconds") > started,
        what="the new worker to answer",
    )


def test_an_order_is_one_trace(shop):
    order = shop.place_order()
    shop.settle(order)

    headers = [
        event.metadata["traceparent"]
        for alias in set(settings.SERVICES.values())
        for event in StoredEvent.objects.using(alias).filter(metadata__correlation_id=str(order.id))
    ]
    assert len(headers) >= 7
    assert len(set(headers)) == len(headers)
    assert {header[:36] for header in headers} == {headers[0][:36]}
    assert [tracing.valid(header) for header in headers] == headers
