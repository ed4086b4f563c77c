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
    """`sagas.W201` for each step before the pivot whose command may be repeated for longer than it is waited for."""
    deadline = timedelta(seconds=settings.STEP_DEADLINE)
    return [
        checks.Warning(
            f"Step {step!r} of saga {saga!r} is given up after {patience.total_seconds():g} s, but the pauses between "
            f"the attempts at its command add up to {total.total_seconds():g} s.",
            hint="Raise STEP_DEADLINE or the step's own deadline, or declare a shorter retry policy where the command "
            "is handled.",
            obj=f"{saga}.{step}",
            id="sagas.W201",
        )
        for saga, step, patience, total in overlong_steps(DEFINITIONS.values(), deadline=deadline)
    ]


def overlong_steps(
    sagas: Iterable[Saga], *, deadline: timedelta
) -> Iterator[tuple[str, str, timedelta, timedelta]]:
    """Saga, step, how long it is waited for and the total of the pauses, where these are longer."""
    for saga in sagas:
        for step in saga.steps[: saga.pivot_position]:
            if step.command is None:
                continue
            own = deadline if step.deadline is None else timedelta(seconds=step.deadline)
            patience = own * (2 ** (step.repeats + 1) - 1)
            total = policy_of(step.command.owner(), step.command.wire_type).total_pauses()
            if total > patience:
                yield saga.name, step.name, patience, total
