"""Running a saga again from one of its steps, on the newest version of its definition: the fork. Pure.

The fork takes over what the old saga has done, with the idempotency keys under which it was done. So it can undo that,
and a step of which nobody knows what became of it is sent again under the key that it had: it has its effect once. What
was refused or undone runs anew, under keys of the fork's own.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from contracts import reasons
from sagas.definition import Saga
from sagas.moves import Decision, Moves, Policy
from sagas.state import SATISFIED, SagaState, SagaStatus, StepState, StepStatus
from sagas.switches import Switch

_NEVER_HAPPENED = (StepStatus.PENDING, StepStatus.REFUSED, StepStatus.UNDONE, StepStatus.MENDED)
_BEING_UNDONE = (StepStatus.UNDOING, StepStatus.STUCK)


def refusal_to_fork(old: Saga, saga: SagaState, new: Saga, from_step: str) -> str | None:
    """Why the saga cannot be run again from this step, as a sentence; None where it can."""
    if from_step not in new.positions:
        steps = ", ".join(new.positions)
        return f"Version {new.version} of {new.name} has no step {from_step!r}. Its steps are {steps}."
    begins_at = new.positions[from_step]
    if new.steps[begins_at].command is None and not new.predecessors[begins_at]:
        return f"Step {from_step!r} is done by what starts the saga, which happens once. Choose a later one."
    states = {state.name: state for state in saga.steps}
    for state in saga.steps:
        if state.status in _BEING_UNDONE:
            return f"Step {state.name!r} is being undone ({state.status}). Wait until that has ended."
        if state.name not in new.positions and state.status not in _NEVER_HAPPENED:
            return (
                f"Step {state.name!r} is {state.status}, and version {new.version} does not have it: it would be "
                "forgotten."
            )
        if (
            state.name in new.positions
            and state.status not in _NEVER_HAPPENED
            and _commands(old, state.name) != _commands(new, state.name)
        ):
            return (
                f"Step {state.name!r} is {state.status}, and version {new.version} does it by other commands. "
                "Cancel the saga, or let it finish."
            )
    for position, step in enumerate(new.steps):
        state = states.get(step.name, StepState(name=step.name))
        if position in new.ancestors[begins_at] and state.status not in SATISFIED:
            return f"Step {step.name!r} is {state.status} and comes before {from_step!r}: choose it instead."
        is_again = position == begins_at or position in new.descendants[begins_at]
        if is_again and state.status in SATISFIED and (state.sendings or state.status is StepStatus.DONE):
            return (
                f"Step {step.name!r} is {state.status}: it would have its effect twice. Choose a later one."
            )
    return None


def fork(
    saga: SagaState,
    new: Saga,
    *,
    saga_id: UUID,
    now: datetime,
    policy: Policy,
    switches: Sequence[Switch] = (),
) -> Decision:
    """The fork, with what it sends first. Whether it may be is for `refusal_to_fork` to say."""
    states = {state.name: state for state in saga.steps}
    taken = SagaState(
        id=saga_id,
        status=SagaStatus.RUNNING,
        reason="",
        data={
            name: said for name, said in saga.data.items() if name == "" or states[name].status in SATISFIED
        },
        steps=tuple(_taken_over(states.get(step.name), step.name, saga.id) for step in new.steps),
        deadline_at=now + timedelta(seconds=new.deadline) if new.deadline is not None else None,
    )
    moves = Moves(new, taken, now, policy, switches)
    moves.go_on()
    return moves.decision()


def superseded(saga: SagaState, *, now: datetime) -> SagaState:
    """The old saga, which ends where it stands: its effects are the fork's now."""
    if saga.is_final:
        return saga
    steps = tuple(
        msgspec.structs.replace(step, deadline_at=None, counted_at=None, is_frozen=False)
        if step.status in SATISFIED or step.status in _NEVER_HAPPENED
        else msgspec.structs.replace(
            step, status=StepStatus.OVERDUE, deadline_at=None, counted_at=None, is_frozen=False
        )
        for step in saga.steps
    )
    return msgspec.structs.replace(
        saga,
        status=SagaStatus.CANCELLED,
        reason=reasons.RUN_AGAIN,
        steps=steps,
        finished_at=now,
        deadline_at=None,
        paused_at=None,
        is_withheld=False,
        stopped_at=None,
    )


def _taken_over(state: StepState | None, name: str, saga_id: UUID) -> StepState:
    if state is None or state.status in _NEVER_HAPPENED:
        return StepState(name=name)
    key_saga_id = state.key_saga_id or saga_id
    if state.status in SATISFIED:
        return msgspec.structs.replace(state, key_saga_id=key_saga_id)
    return StepState(
        name=name,
        step_try=state.step_try,
        questions=state.questions,
        compensation=state.compensation,
        key_saga_id=key_saga_id,
    )


def _commands(definition: Saga, name: str) -> tuple[str, ...]:
    step = definition.step(name)
    return tuple(command.wire_type if command else "" for command in (step.command, step.undo))
