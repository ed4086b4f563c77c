"""Where a saga stands, in sentences for people who do not program. Pure."""

import re
from datetime import datetime

from contracts.message import Message
from sagas.definition import Pause, Saga, Step, Wait
from sagas.state import SagaState, SagaStatus, StepState, StepStatus

STEP_WORDS = {
    StepStatus.PENDING: "not yet",
    StepStatus.SENT: "under way",
    StepStatus.ASKING: "asking what happened",
    StepStatus.WAITING: "waits for word",
    StepStatus.PAUSING: "lets time pass",
    StepStatus.DONE: "done",
    StepStatus.SKIPPED: "skipped by a person",
    StepStatus.REFUSED: "refused",
    StepStatus.OVERDUE: "no answer in time",
    StepStatus.FAILED: "failed",
    StepStatus.HELD: "waits for a person",
    StepStatus.UNDOING: "being undone",
    StepStatus.UNDONE: "undone",
    StepStatus.STUCK: "cannot be undone, waits for a person",
    StepStatus.MENDED: "undone by hand",
}


def in_words(message: type[Message]) -> str:
    """`reserve stock` for `ReserveStock`."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", message.__name__).lower()


def sentence(definition: Saga, saga: SagaState, now: datetime) -> str:
    """What the saga does now, and what it waits for."""
    if saga.status is SagaStatus.COMPLETED:
        return "Everything was done."
    if saga.status is SagaStatus.CANCELLED:
        if saga.reason == "run_again":
            return "It was run again, and ended here: the other saga goes on with what was done."
        return f"It ended undone, because of {_reason(saga)}: whatever had been done was taken back."
    if saga.paused_at is not None:
        return "A person has paused it: answers are taken in, and nothing is sent until it is resumed."
    said = [step_sentence(definition, state, now) for state in saga.under_way()]
    if saga.is_withheld and not said:
        said = ["A pause switch holds back what it would send next."]
    turned = (
        f"It is being undone, because of {_reason(saga)}. " if saga.status is SagaStatus.COMPENSATING else ""
    )
    return turned + (" ".join(said) or "It is about to go on.")


def step_sentence(definition: Saga, state: StepState, now: datetime) -> str:
    """What a step that is under way waits for."""
    step = definition.step(state.name)
    since = f" since {_span(state.sent_at, now)}" if state.sent_at else ""
    if state.is_frozen:
        return f"Step {state.name} is held back by a pause switch, and its deadline stands still."
    match state.status:
        case StepStatus.SENT:
            return (
                f"Waits{since} for {_service(step)} to {_command(step)}{_times(state)}{_until(state, now)}."
            )
        case StepStatus.ASKING:
            return (
                f"Nobody knows whether step {state.name} had its effect: {_service(step)} was asked{since}."
            )
        case StepStatus.WAITING:
            return f"Waits{since} for word from outside (step {state.name}){_until(state, now)}."
        case StepStatus.PAUSING:
            return f"Lets time pass (step {state.name}){_until(state, now)}."
        case StepStatus.UNDOING:
            undo = in_words(step.undo) if step.undo else state.name
            return f"Waits{since} for {_service(step)} to {undo}{_times(state)}{_until(state, now)}."
        case StepStatus.HELD if isinstance(step, Wait):
            return f"Step {state.name} has waited for word in vain: a person has to decide."
        case StepStatus.HELD:
            return (
                f"Step {state.name} became a dead letter, and nobody knows whether it had its effect: a person has to "
                "decide."
            )
        case StepStatus.STUCK:
            return f"Step {state.name} could not be undone: a person has to retry it, or to undo it by hand."
    return ""


def _reason(saga: SagaState) -> str:
    return f"“{saga.reason.replace('_', ' ')}”" if saga.reason else "a refusal"


def _service(step: Step) -> str:
    command = step.command or step.undo
    return command.owner() if command else "nobody"


def _command(step: Step) -> str:
    return in_words(step.command) if step.command else step.name


def _times(state: StepState) -> str:
    return f", sent {state.sendings} times," if state.sendings > 1 else ""


def _until(state: StepState, now: datetime) -> str:
    if state.deadline_at is None:
        return ""
    if state.deadline_at <= now:
        return "; the time for that is over"
    return f"; the time for that is over in {_span(now, state.deadline_at)}"


def _span(begin: datetime | None, end: datetime) -> str:
    seconds = int((end - begin).total_seconds()) if begin else 0
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            number = seconds // size
            return f"{number} {name}{'s' if number > 1 else ''}"
    return f"{max(seconds, 0)} s"


def kind_of(step: Step) -> str:
    """What the step does, for a table: the command, what it waits for, or that it is the start."""
    if isinstance(step, Pause):
        return f"pause of {step.seconds:g} s"
    if isinstance(step, Wait):
        return f"wait for {in_words(step.done)}" if step.done else "wait"
    return in_words(step.command) if step.command else "the start"
