"""What people can do to a saga as it is, and why they cannot do the rest. Pure: the pages ask it for their buttons."""

from collections.abc import Sequence

from sagas.definition import Saga, Wait
from sagas.incoming import (
    Action,
    CancelSaga,
    MarkUndone,
    PauseSaga,
    ResumeSaga,
    RetryStep,
    SkipStep,
)
from sagas.state import (
    COMPENSATION_IS_AWAITED,
    IN_FLIGHT,
    SagaState,
    SagaStatus,
    StepState,
    StepStatus,
)
from sagas.switches import Switch

_RETRIED = (*IN_FLIGHT, StepStatus.HELD, *COMPENSATION_IS_AWAITED)
_SKIPPED = (*IN_FLIGHT, StepStatus.HELD, StepStatus.WAITING, StepStatus.PAUSING)


def refusal_of(
    definition: Saga, saga: SagaState, action: Action, switches: Sequence[Switch] = ()
) -> str | None:
    """Why this cannot be done now, as a sentence; None where it can."""
    if saga.is_final:
        return f"The saga is {saga.status}, and what has ended does not change any more."
    match action:
        case PauseSaga():
            return "It is paused already." if saga.paused_at is not None else None
        case ResumeSaga():
            return "It is not paused." if saga.paused_at is None else None
        case CancelSaga():
            return _refusal_to_cancel(definition, saga)
    position = definition.positions.get(action.step)
    if position is None:
        return (
            f"The saga {definition.name} has no step {action.step!r}. Its steps are "
            f"{', '.join(definition.positions)}."
        )
    state = saga.steps[position]
    match action:
        case RetryStep():
            return _refusal_to_retry(definition, saga, position, switches)
        case SkipStep():
            return _refusal_to_skip(definition, saga, position)
        case MarkUndone():
            if state.status in COMPENSATION_IS_AWAITED:
                return None
            return f"Step {state.name!r} is {state.status}: only a step that is being undone can be undone by hand."


def _refusal_to_cancel(definition: Saga, saga: SagaState) -> str | None:
    if saga.status is not SagaStatus.RUNNING:
        return "It is being undone already."
    pivot = definition.pivot_position
    if pivot < len(saga.steps) and saga.steps[pivot].status is not StepStatus.PENDING:
        return (
            f"The command of step {saga.steps[pivot].name!r} has been sent, and from there on there is no way back: "
            "the saga can only be finished."
        )
    return None


def _refusal_to_retry(
    definition: Saga, saga: SagaState, position: int, switches: Sequence[Switch]
) -> str | None:
    state, step = saga.steps[position], definition.steps[position]
    if state.status not in _RETRIED:
        return f"Step {state.name!r} is {state.status}: there is no command of it that could be sent again."
    if saga.status is not SagaStatus.RUNNING and state.status in IN_FLIGHT:
        return f"The saga is being undone: the answer to step {state.name!r} is only waited for, until its deadline."
    if saga.paused_at is not None:
        return "The saga is paused. Resume it first."
    if state.status in COMPENSATION_IS_AWAITED:
        command = step.undo
    else:
        command = step.ask if state.status is StepStatus.ASKING else step.command
    for switch in switches:
        if (
            switch.lifted_at is None
            and command is not None
            and switch.matches(definition.name, step.name, command)
        ):
            return f"The {switch.kind} {switch.name} is paused by a switch. Lift the switch first."
    return None


def _refusal_to_skip(definition: Saga, saga: SagaState, position: int) -> str | None:
    state, step = saga.steps[position], definition.steps[position]
    if saga.status is not SagaStatus.RUNNING:
        return "The saga is being undone: a step that is undone by hand is marked so."
    if state.status not in _SKIPPED:
        return f"Step {state.name!r} is {state.status}: only a step that is under way can be skipped."
    needed = definition.needs(step.name)
    if needed:
        said = "What the event would say" if isinstance(step, Wait) else "Its reply"
        return f"{said} is needed by {', '.join(needed)}, so step {state.name!r} cannot be skipped."
    return None


def possible_actions(
    definition: Saga, saga: SagaState, state: StepState, switches: Sequence[Switch] = ()
) -> tuple[type[RetryStep] | type[SkipStep] | type[MarkUndone], ...]:
    """What can be done to this step now."""
    return tuple(
        kind
        for kind in (RetryStep, SkipStep, MarkUndone)
        if refusal_of(definition, saga, kind(state.name), switches) is None
    )
