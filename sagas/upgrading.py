"""Would this release carry on the sagas that are running? Their recorded histories are decided again, and compared.

Reads only, and each chunk of sagas as it is at one moment, since all of them may be moving meanwhile.
"""

from collections.abc import Iterator, Sequence
from uuid import UUID

import msgspec
from django.db import connections, transaction
from django.db.models import Q
from django.utils import timezone

from contracts.message import Command
from sagas import records
from sagas.batch import policy
from sagas.definition import Saga
from sagas.models import MessageRecord, PauseSwitch, SagaRecord
from sagas.records import DATABASE, LoadedSaga
from sagas.registry import DEFINITIONS
from sagas.replaying import ABOUT_THEN, differences, plain
from sagas.state import SATISFIED, SagaState, SagaStatus, StepState, StepStatus
from sagas.switches import Switch, SwitchKind

CHUNK = 200


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with one running saga under this release."""

    saga_id: UUID
    name: str
    version: int
    problem: str


class Checked(msgspec.Struct, kw_only=True):
    """How many running sagas were looked at, and how many of them were decided again from their whole history."""

    sagas: int = 0
    decided_again: int = 0


class _Chunk(msgspec.Struct, frozen=True):
    sagas: list[LoadedSaga]
    history: dict[UUID, list[MessageRecord]]
    switches: list[Switch]


def check(checked: Checked) -> Iterator[Finding]:
    """Everything that this release would do differently; `checked` is counted up. Six statements for 200 sagas."""
    after = UUID(int=0)
    while True:
        chunk = _read(after)
        if not chunk.sagas:
            return
        after = chunk.sagas[-1].state.id
        for loaded in chunk.sagas:
            checked.sagas += 1
            yield from _check(loaded, chunk, checked)


def _read(after: UUID) -> _Chunk:
    with transaction.atomic(using=DATABASE):
        with connections[DATABASE].cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        unfinished = SagaRecord.objects.filter(finished_at__isnull=True, id__gt=after).order_by("id")
        begun = dict(unfinished.values_list("id", "started_at")[:CHUNK])
        if not begun:
            return _Chunk([], {}, [])
        loaded = records.look(begun, now=timezone.now()).sagas
        history: dict[UUID, list[MessageRecord]] = {saga_id: [] for saga_id in begun}
        for record in MessageRecord.objects.filter(saga_id__in=list(begun)).order_by("id"):
            history[record.saga_id].append(record)
        first = min(begun.values()) - ABOUT_THEN
        lasting = PauseSwitch.objects.filter(Q(lifted_at__isnull=True) | Q(lifted_at__gt=first))
        switches = [
            Switch(kind=SwitchKind(kind), name=name, set_at=set_at, lifted_at=lifted_at)
            for kind, name, set_at, lifted_at in lasting.values_list("kind", "name", "set_at", "lifted_at")
        ]
    return _Chunk([loaded[saga_id] for saga_id in sorted(loaded)], history, switches)


def _check(loaded: LoadedSaga, chunk: _Chunk, checked: Checked) -> Iterator[Finding]:
    def found(problem: str) -> Finding:
        return Finding(saga_id=loaded.state.id, name=loaded.name, version=loaded.version, problem=problem)

    definition = DEFINITIONS.get((loaded.name, loaded.version))
    if definition is None:
        yield found("this release does not have its version")
        return
    names, stored = list(definition.positions), [step.name for step in loaded.state.steps]
    if names != stored:
        yield found(f"its steps are {', '.join(stored)}, and this release has {', '.join(names)}")
        return
    yield from map(found, unbuildable(definition, loaded.state))
    history = chunk.history[loaded.state.id]
    if loaded.generation > 1 or not _is_whole(history):
        return
    checked.decided_again += 1
    since = (history[0].at if history else timezone.now()) - ABOUT_THEN
    switches = [each for each in chunk.switches if each.lifted_at is None or each.lifted_at > since]
    told = differences(definition, loaded.state, history, policy=policy(), switches=switches)
    yield from map(found, told)


def _is_whole(history: Sequence[MessageRecord]) -> bool:
    """Whether it has all that the saga was decided on. Missed deadlines are kept since times are noted.

    A fork, which is generation 2 or later, begins with what another saga had done, so its history never has.
    """
    return all(record.noted_at is not None for record in history)


def unbuildable(definition: Saga, saga: SagaState) -> Iterator[str]:
    """Commands that may still be sent, also to undo something, and cannot be made of what the saga was told."""
    for position, state in enumerate(saga.steps):
        for command in _still_to_be_sent(definition, saga, position):
            if not definition.takes_from(position, command) <= saga.data.keys():
                continue  # made of what is still to be said
            try:
                definition.build(position, command, saga.data, reason=saga.reason)
            except Exception as error:  # a `build` may raise anything
                yield f"{command.__name__} of step {state.name} cannot be made of what it was told: {plain(error)}"


def _still_to_be_sent(definition: Saga, saga: SagaState, position: int) -> Iterator[type[Command]]:
    step, state, pivot = definition.steps[position], saga.steps[position], definition.pivot_position
    is_running = saga.status is SagaStatus.RUNNING
    is_beyond = pivot < len(saga.steps) and saga.steps[pivot].status in SATISFIED
    if is_running and state.status in (
        StepStatus.PENDING,
        StepStatus.SENT,
        StepStatus.ASKING,
        StepStatus.HELD,
    ):
        yield from (command for command in (step.command, step.ask) if command is not None)
    if step.undo is not None and not is_beyond and (is_running or _may_be_undone(state)):
        yield step.undo


def _may_be_undone(state: StepState) -> bool:
    return state.is_to_be_undone or state.status in (
        StepStatus.SENT,
        StepStatus.ASKING,
        StepStatus.UNDOING,
        StepStatus.STUCK,
    )
