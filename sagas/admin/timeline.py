"""What a saga has spent its time on, as rows: each step, its way back, and what a person or a switch held up. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from contracts.message import Command
from sagas.definition import Pause, Saga, Step, Wait
from sagas.state import SATISFIED, SagaState, SagaStatus, StepState, StepStatus
from sagas.switches import Switch, time_held


class Kind(StrEnum):
    """What a row is about."""

    STEP = "step"
    UNDO = "undo"
    PAUSED = "paused"
    HELD_BACK = "held back"


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    """What the saga has recorded: a message, what a person did, or a deadline that `steps` have missed."""

    direction: str
    type: str = ""
    step: str = ""
    at: datetime
    steps: tuple[str, ...] = ()


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Something that lasted from `begin` to `end`, or lasts still.

    `sent` and `asked` are when its command and the questions about it went out, `missed` when an answer had been
    awaited in vain; what `is_given_up` ended without any. `still` is for how long of that time a pause switch let its
    deadline stand still.
    """

    name: str
    kind: Kind
    begin: datetime
    end: datetime | None = None
    is_refused: bool = False
    is_given_up: bool = False
    sent: tuple[datetime, ...] = ()
    asked: tuple[datetime, ...] = ()
    missed: tuple[datetime, ...] = ()
    still: timedelta = timedelta(0)


def rows(
    definition: Saga, saga: SagaState, notes: Sequence[Noted], switches: Sequence[Switch], *, now: datetime
) -> list[Row]:
    """All that the records tell, in the order in which it began. `switches` are also those that were lifted."""
    until = saga.finished_at or now
    found = list(_pauses(notes, end=saga.finished_at))
    undoing = {step.undo.wire_type for step in definition.steps if step.undo}
    turned = min(
        (note.at for note in notes if note.direction == "sent" and note.type in undoing), default=None
    )
    for position, (step, state) in enumerate(zip(definition.steps, saga.steps, strict=False)):
        own = [note for note in notes if step.name in (note.step, *note.steps)]
        if isinstance(step, (Wait, Pause)):
            found += _of_time(step, state, own, end=saga.finished_at)
            continue
        ready = [
            _done_at(definition.steps[other], saga.steps[other], notes)
            for other in definition.predecessors[position]
        ]
        for command, kind in ((step.command, Kind.STEP), (step.undo, Kind.UNDO)):
            if command is None:
                continue
            matching = [switch for switch in switches if switch.matches(definition.name, step.name, command)]
            told = _of_command(step, command, kind, own, matching, until=until, end=saga.finished_at)
            if kind is Kind.STEP:
                began = told[0].begin if told else turned or until
                is_awaited = state.status is StepStatus.PENDING and saga.status is SagaStatus.RUNNING
                found += _held_back(step, ready, matching, began, is_awaited=is_awaited)
            found += told
    return sorted(found, key=lambda row: row.begin)


def _pauses(notes: Sequence[Noted], *, end: datetime | None) -> Iterator[Row]:
    since: datetime | None = None
    for note in notes:
        if note.direction != "person":
            continue
        if note.type == "pause":
            since = note.at
        elif note.type == "resume" and since is not None:
            yield Row(name="by a person", kind=Kind.PAUSED, begin=since, end=note.at)
            since = None
    if since is not None:
        yield Row(name="by a person", kind=Kind.PAUSED, begin=since, end=end)


def _of_time(step: Step, state: StepState, own: Sequence[Noted], *, end: datetime | None) -> list[Row]:
    """A step that sends nothing: it waits for word, or lets time pass."""
    if state.sent_at is None or state.status is StepStatus.PENDING:
        return []
    missed = tuple(note.at for note in own if note.direction == "time") if isinstance(step, Wait) else ()
    return [
        Row(
            name=step.name,
            kind=Kind.STEP,
            begin=min(state.sent_at, state.finished_at or state.sent_at),
            end=state.finished_at or end,
            is_refused=state.status is StepStatus.REFUSED,
            missed=missed,
        )
    ]


def _of_command(
    step: Step,
    command: type[Command],
    kind: Kind,
    own: Sequence[Noted],
    matching: Sequence[Switch],
    *,
    until: datetime,
    end: datetime | None,
) -> list[Row]:
    """From the first sending to the answer; to the way back where none came, for then nobody waits any longer."""
    sent = _times(own, "sent", command.wire_type)
    if not sent:
        return []
    answers = (step.undone,) if kind is Kind.UNDO else (step.done, step.refused)
    said = next(
        (
            note
            for note in own
            if note.direction == "received" and note.type in {event.wire_type for event in answers if event}
        ),
        None,
    )
    ended = said.at if said else end
    if said is None and kind is Kind.STEP and step.undo is not None:
        ended = min(_times(own, "sent", step.undo.wire_type), default=end)
    last = max(ended or until, sent[0])
    return [
        Row(
            name=step.name,
            kind=kind,
            begin=sent[0],
            end=ended and last,
            is_refused=kind is Kind.STEP
            and said is not None
            and step.refused is not None
            and said.type == step.refused.wire_type,
            is_given_up=said is None and ended is not None,
            sent=sent,
            asked=_times(own, "sent", step.ask.wire_type) if step.ask and kind is Kind.STEP else (),
            missed=tuple(note.at for note in own if note.direction == "time" and sent[0] <= note.at <= last),
            still=time_held(matching, since=sent[0], until=last),
        )
    ]


def _times(own: Sequence[Noted], direction: str, wire_type: str) -> tuple[datetime, ...]:
    return tuple(note.at for note in own if note.direction == direction and note.type == wire_type)


def _done_at(step: Step, state: StepState, notes: Sequence[Noted]) -> datetime | None:
    """When the step was done, also where it has been undone since; None where it was not."""
    if step.command is not None and step.done is not None:
        answered = [
            note.at
            for note in notes
            if note.direction == "received" and note.step == step.name and note.type == step.done.wire_type
        ]
        if answered:
            return answered[0]
    elif not isinstance(step, (Wait, Pause)):
        return next((note.at for note in notes), state.finished_at)  # the saga begins with it
    return state.finished_at if state.status in SATISFIED else None


def _held_back(
    step: Step,
    ready: Sequence[datetime | None],
    matching: Sequence[Switch],
    began: datetime,
    *,
    is_awaited: bool,
) -> Iterator[Row]:
    """The times in which the step might have begun, had a pause switch not held its command back."""
    done = [at for at in ready if at is not None]
    if len(done) < len(ready) or not done:
        return
    for switch in matching:
        begin, end = max(switch.set_at, *done), min(switch.lifted_at or began, began)
        if begin < end:
            is_open = switch.lifted_at is None and is_awaited
            yield Row(name=step.name, kind=Kind.HELD_BACK, begin=begin, end=None if is_open else end)


def words(row: Row, *, now: datetime) -> str:
    """`12 s so far, sent 3 times, no answer in time twice`: all that the bar shows."""
    took = span((row.end or now) - row.begin)
    told = [took if row.end else f"{took} so far"]
    if row.is_refused:
        told.append("refused")
    if row.is_given_up:
        told.append("without an answer")
    if len(row.sent) > 1:
        told.append(f"sent {_often(len(row.sent))}")
    if row.asked:
        told.append(f"asked what happened {_often(len(row.asked))}")
    if row.missed:
        told.append(f"no answer in time {_often(len(row.missed))}")
    if row.still:
        told.append(f"its deadline stood still for {span(row.still)}")
    return ", ".join(told)


def span(length: timedelta) -> str:
    """`18 ms`, `2.5 s`, `3 min 20 s`, `2 h 5 min` or `3 d 4 h`."""
    seconds = max(length.total_seconds(), 0.0)
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, small, lower in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // small} {lower}"
    return f"{whole // 60} min {whole % 60} s"


def _often(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")
