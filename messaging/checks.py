"""System checks: settings with which a message could be lost, and messages that nobody sends or handles.

`manage.py check` runs those of the settings, `--deploy` also the others; a worker runs those of its own configuration
when it starts. docs/checks.md lists them all. What talks to the broker is in `messaging.broker_checks`.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from celery.app.defaults import DEFAULTS
from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Tags, Warning, register

from contracts.catalogue import MESSAGE_TYPES
from messaging import topology, tracing
from messaging.handling import senders, subscriptions

TAG = "messaging"
BROKER_CONSUMER_TIMEOUT = 1800
"""Seconds after which RabbitMQ closes the channel of a consumer that has not settled a message (its default)."""
SAFE_POOLS = ("prefork", "solo")


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What a Celery setting has to be, and what becomes of messages otherwise."""

    id: str
    setting: str
    wanted: str
    is_kept: Callable[[Any], bool]
    otherwise: str


def _is(value: object) -> Callable[[Any], bool]:
    return lambda found: found is value


RULES = (
    Rule(
        id="messaging.E001",
        setting="broker_transport_options",
        wanted="{'confirm_publish': True}",
        is_kept=lambda found: bool(found and found.get("confirm_publish")),
        otherwise="Celery's own publishes are lost without a word where the broker does not take them",
    ),
    Rule(
        id="messaging.E002",
        setting="task_acks_late",
        wanted="True",
        is_kept=_is(True),
        otherwise="a message is acknowledged before it is handled, and lost with its worker",
    ),
    Rule(
        id="messaging.E003",
        setting="task_acks_on_failure",
        wanted="False",
        is_kept=_is(False),
        otherwise="a message whose handling failed is acknowledged and lost",
    ),
    Rule(
        id="messaging.E004",
        setting="task_acks_on_timeout",
        wanted="False",
        is_kept=_is(False),
        otherwise="a message that met its time limit is acknowledged and lost",
    ),
    Rule(
        id="messaging.E005",
        setting="task_reject_on_worker_lost",
        wanted="True",
        is_kept=_is(True),
        otherwise="a message whose child process died is acknowledged and lost",
    ),
    Rule(
        id="messaging.E006",
        setting="task_create_missing_queues",
        wanted="False",
        is_kept=_is(False),
        otherwise="a misspelt queue is made anew, as a classic one without dead letters",
    ),
    Rule(
        id="messaging.E007",
        setting="worker_detect_quorum_queues",
        wanted="True",
        is_kept=_is(True),
        otherwise="the worker asks for global QoS, which quorum queues refuse, again and again",
    ),
    Rule(
        id="messaging.E008",
        setting="broker_connection_max_retries",
        wanted="None",
        is_kept=_is(None),
        otherwise="a worker gives up while the broker is away",
    ),
    Rule(
        id="messaging.E009",
        setting="broker_channel_error_retry",
        wanted="True",
        is_kept=_is(True),
        otherwise="a worker ends where the broker closes its channel",
    ),
    Rule(
        id="messaging.E010",
        setting="worker_cancel_long_running_tasks_on_connection_loss",
        wanted="True",
        is_kept=_is(True),
        otherwise="a long task runs twice at the same time after the connection was lost",
    ),
    Rule(
        id="messaging.E011",
        setting="task_time_limit",
        wanted=f"more than 0 and less than {BROKER_CONSUMER_TIMEOUT}",
        is_kept=lambda found: found is not None and 0 < found < BROKER_CONSUMER_TIMEOUT,
        otherwise="the broker closes the channel of a worker whose handler hangs, and hands its messages out again",
    ),
    Rule(
        id="messaging.E012",
        setting="task_ignore_result",
        wanted="True",
        is_kept=_is(True),
        otherwise="a message that was handled is rejected where only its result cannot be stored",
    ),
    Rule(
        id="messaging.E013",
        setting="accept_content",
        wanted="['json']",
        is_kept=lambda found: list(found) == ["json"],
        otherwise="a message may be pickled, and run whatever its sender likes",
    ),
    Rule(
        id="messaging.E014",
        setting="worker_pool",
        wanted=" or ".join(SAFE_POOLS),
        is_kept=lambda found: found in SAFE_POOLS,
        otherwise="gevent and eventlet lose messages at a shutdown, and no handler declares that threads may share it",
    ),
    Rule(
        id="messaging.E015",
        setting="worker_soft_shutdown_timeout",
        wanted="more than 0",
        is_kept=lambda found: bool(found and found > 0),
        otherwise="a worker that is told to stop waits for its tasks without end, until it is killed",
    ),
)
OF_WORKERS_ALONE = {"messaging.E001"}
"""What a worker's own configuration may have otherwise: it publishes no messages, only its events."""


def problems_with(values: Mapping[str, Any], *, rules: tuple[Rule, ...] = RULES) -> list[CheckMessage]:
    """The rules that these settings break, by Celery's lower-case names; what is absent has Celery's default."""
    found: list[CheckMessage] = []
    for rule in rules:
        value = values.get(rule.setting, DEFAULTS.get(rule.setting))
        if not rule.is_kept(value):
            name = f"CELERY_{rule.setting.upper()}"
            found.append(
                Error(f"{name} is {value!r}: {rule.otherwise}.", hint=f"Set it to {rule.wanted}.", id=rule.id)
            )
    return found


@register(TAG)
def check_settings(**_: Any) -> list[CheckMessage]:
    """Settings that keep messages."""
    given = {name: getattr(settings, f"CELERY_{name.upper()}") for name in _given()}
    return problems_with(given)


@register(TAG)
def check_spans(**_: Any) -> list[CheckMessage]:
    """OpenTelemetry is installed where its variables are set."""
    if not tracing.is_configured():
        return []
    try:
        import opentelemetry.sdk.trace  # noqa: F401
    except ImportError:
        return [
            Warning(
                "OTEL_… variables name an exporter, and OpenTelemetry is not installed: no spans are made.",
                hint="Install opentelemetry-sdk and an exporter, or set OTEL_TRACES_EXPORTER=none.",
                id="messaging.W020",
            )
        ]
    return []


@register(TAG, deploy=True)
def check_messages(**_: Any) -> list[CheckMessage]:
    """Every command has a sender and a handler; events without a handler are told."""
    return list(_unheard_and_unsaid())


@register(TAG, Tags.security, deploy=True)
def check_access(**_: Any) -> list[CheckMessage]:
    """The metrics can be read by whoever is to read them, and the broker has a user of its own."""
    found: list[CheckMessage] = []
    if not settings.METRICS_TOKEN:
        found.append(
            Warning(
                "METRICS_TOKEN is not set: /metrics answers this machine alone, and behind a proxy nobody.",
                hint="Set it to a long random text, and have Prometheus send it as a bearer token.",
                id="messaging.W021",
            )
        )
    if "://guest:" in settings.BROKER_URL or "://guest@" in settings.BROKER_URL:
        found.append(
            Warning(
                "BROKER_URL uses RabbitMQ's user guest, whose password is known to all.",
                hint="Make a user for the shop, with rights in its virtual host alone.",
                id="messaging.W022",
            )
        )
    return found


def refuse_unsafe_worker(sender: Any = None, **_: Any) -> None:
    """End a Celery worker that would lose messages, before it takes any. A receiver of `worker_init`."""
    problems = problems_of_worker(sender)
    if problems:
        sys.exit("The worker cannot start.\n" + "\n".join(str(problem) for problem in problems))


def problems_of_worker(worker: Any) -> list[CheckMessage]:
    """What is wrong with a worker as it was started: its configuration, its pool, its consumer."""
    conf = worker.app.conf
    values = {rule.setting: conf.get(rule.setting) for rule in RULES}
    pool = worker.pool_cls
    values["worker_pool"] = pool if isinstance(pool, str) else _pool_name(pool)
    rules = tuple(rule for rule in RULES if rule.id not in OF_WORKERS_ALONE)
    found = problems_with(values, rules=rules)
    if conf.get("worker_consumer") not in SCREENING_CONSUMERS:
        found.append(
            Error(
                f"worker_consumer is {conf.get('worker_consumer')!r}: messages that Celery cannot decode are "
                "acknowledged and lost, and others end the worker.",
                hint=f"Set it to {sorted(SCREENING_CONSUMERS)[0]!r}; `messaging.worker.serve` does.",
                id="messaging.E016",
            )
        )
    return found


SCREENING_CONSUMERS = {"messaging.screening:ScreeningConsumer"}


def _pool_name(pool: Any) -> str:
    return str(pool.__module__.rpartition(".")[2])


def _given() -> Iterator[str]:
    for rule in RULES:
        if hasattr(settings, f"CELERY_{rule.setting.upper()}"):
            yield rule.setting


def _unheard_and_unsaid() -> Iterator[CheckMessage]:
    heard: set[str] = set().union(*subscriptions().values())
    said: set[str] = set().union(*senders().values())
    for wire_type in sorted(filter(topology.is_command, MESSAGE_TYPES)):
        if wire_type not in heard:
            yield Warning(
                f"Nobody handles the command {wire_type}: sent, it would be returned and wait in the outbox.",
                hint=f"Declare its handler in {wire_type.partition('.')[0]}/handlers.py.",
                id="messaging.W023",
            )
        elif wire_type not in said:
            yield Warning(
                f"Nobody declares that it sends the command {wire_type}, which has a handler.",
                hint="Declare it where it is sent: messaging.handling.sends(service, {…}). Or remove the handler.",
                id="messaging.W024",
            )
    unheard = sorted(name for name in MESSAGE_TYPES if not topology.is_command(name) and name not in heard)
    if unheard:
        yield Info(
            f"Nobody handles these events; they are in their owners' event stores: {', '.join(unheard)}.",
            id="messaging.I025",
        )
