"""A system check: do the repetitions of a step's command end before the step is given up?

While a command is still being repeated its step may become overdue, and is then undone although the next attempt
might have succeeded. That loses no message and no money, but orders. From the pivot on, and for compensations, a
missed deadline only sends the command again, so they may take longer.
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core import checks

from messaging.handling import policy_of
from sagas.definition import Saga
from sagas.registry import DEFINITIONS


@checks.register("sagas")
def check_retry_policies(app_configs: Any, **_: Any) -> list[checks.CheckMessage]:
    """`sagas.W201` for each step before the pivot whose command may be repeated for longer than its deadline."""
    found = overlong_steps(DEFINITIONS.values(), deadline=timedelta(seconds=settings.STEP_DEADLINE))
    return [
        checks.Warning(
            f"Step {step!r} of saga {saga!r} is given up after {settings.STEP_DEADLINE:g} s, but the pauses between "
            f"the attempts at its command add up to {total.total_seconds():g} s.",
            hint="Raise STEP_DEADLINE, or declare a shorter retry policy where the command is handled.",
            obj=f"{saga}.{step}",
            id="sagas.W201",
        )
        for saga, step, total in found
    ]


def overlong_steps(sagas: Iterable[Saga], *, deadline: timedelta) -> Iterator[tuple[str, str, timedelta]]:
    """Saga, step and total of the pauses, for each step before a pivot whose retries outlast the deadline."""
    for saga in sagas:
        for step in saga.steps[: saga.pivot_position]:
            if step.command is None:
                continue
            total = policy_of(step.command.owner(), step.command.wire_type).total_pauses()
            if total > deadline:
                yield saga.name, step.name, total
