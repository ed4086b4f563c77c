"""Where a saga stands, in sentences for people who do not program. Pure."""

import re
from datetime import UTC, datetime

import msgspec

from contracts.message import Message
from sagas.decide import decide
from sagas.definition import Pause, Saga, Step, Wait
from sagas.incoming import DeadlinePassed
from sagas.moves import Policy
from sagas.state import SagaState, SagaStatus, StepState, StepStatus

_ANY_POLICY = Policy(deadline=60, longest_pause=60)
"""It says when the next deadline is, which nobody asks here."""

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


def step_words(saga: SagaState, state: StepState) -> str:
    """The state of a step of this saga: what has not begun never will once the saga is undone, or run again."""
    if state.status is StepStatus.PENDING and saga.status in (SagaStatus.COMPENSATING, SagaStatus.CANCELLED):
        return "never begun"
    return STEP_WORDS[state.status]


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
    said = [step_sentence(definition, saga, state, now) for state in saga.under_way()]
    if saga.is_withheld and not said:
        said = ["A pause switch holds back what it would send next."]
    turned = (
        f"It is being undone, because of {_reason(saga)}. " if saga.status is SagaStatus.COMPENSATING else ""
    )
    return turned + (" ".join(said) or "It is about to go on.")


def step_sentence(definition: Saga, saga: SagaState, state: StepState, now: datetime) -> str:
    """What a step that is under way waits for, and what follows if it waits in vain."""
    step = definition.step(state.name)
    until = _until(state, now, then=_after_the_deadline(definition, saga, state))
    since = f" since {_span(state.sent_at, now)}" if state.sent_at else ""
    if state.is_frozen:
        return f"Step {state.name} is held back by a pause switch, and its deadline stands still."
    match state.status:
        case StepStatus.SENT:
            return f"Waits{since} for {_service(step)} to {_command(step)}{_times(state)}{until}."
        case StepStatus.ASKING:
            return (
                f"Nobody knows whether step {state.name} had its effect: {_service(step)} was asked "
                f"{_span(state.sent_at, now)} ago{until}."
            )
        case StepStatus.WAITING:
            return f"Waits{since} for word from outside (step {state.name}){until}."
        case StepStatus.PAUSING:
            return f"Lets time pass (step {state.name}) until {_clock(state.deadline_at, now)}."
        case StepStatus.UNDOING:
            undo = in_words(step.undo) if step.undo else state.name
            return f"Waits{since} for {_service(step)} to {undo}{_times(state)}{until}."
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
    return f", sent {state.sendings} times" if state.sendings > 1 else ""


def _until(state: StepState, now: datetime, *, then: str) -> str:
    if state.deadline_at is None:
        return ""
    if state.deadline_at <= now:
        return "; the time for that is over"
    at = _clock(state.deadline_at, now)
    return f"; without an answer {then} at {at}" if then else f"; the time for that is over at {at}"


def _after_the_deadline(definition: Saga, saga: SagaState, state: StepState) -> str:
    """What the saga would decide if the step's deadline passed: it is asked, so that this cannot say anything else."""
    if state.deadline_at is None:
        return ""
    missed = DeadlinePassed((state.name,))
    try:
        decision = decide(definition, saga, missed, now=state.deadline_at, policy=_ANY_POLICY)
    except (AssertionError, KeyError, msgspec.ValidationError):
        # It cannot be decided: what would be sent needs what a skipped step never said, or the table was changed
        # under its version. A page that is opened to find out just that says all else that it knows.
        return ""
    sent = [sending for sending in decision.sendings if sending.step == state.name]
    then = next(step for step in decision.saga.steps if step.name == state.name)
    if then.status is StepStatus.HELD:
        return "a person has to decide"
    if any(sending.question for sending in sent):
        return f"{_service(definition.step(state.name))} is asked what happened"
    if decision.saga.status is not saga.status and saga.status is SagaStatus.RUNNING:
        return "the saga is undone"
    if then.status is StepStatus.OVERDUE or then.status is not state.status:
        return "the step is undone too"
    return "it is asked again"


def _clock(at: datetime | None, now: datetime) -> str:
    """`12:03:10 UTC`, with the date where that is another day's."""
    if at is None:
        return "somebody's word"
    utc = at.astimezone(UTC)
    return f"{utc:%H:%M:%S} UTC" if utc.date() == now.astimezone(UTC).date() else f"{utc:%Y-%m-%d %H:%M} UTC"


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
