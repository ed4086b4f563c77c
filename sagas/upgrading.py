"""Would this release carry on the sagas that are running? Their recorded histories are decided again, and compared.

Reads only. A saga is decided again from its start with what it was told, what people did, and which deadlines it had
missed; times themselves decide nothing then. It must come to the same steps, and must have sent the same commands.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from uuid import UUID

import msgspec
from django.utils import timezone

from contracts.catalogue import MESSAGE_TYPES
from contracts.message import Event
from contracts.sagas import NoteDeadLetter, NoteDiscardedLetter
from sagas import records
from sagas.batch import policy
from sagas.decide import begin, decide
from sagas.definition import Saga, Wait
from sagas.errors import ActionRefused
from sagas.incoming import Action, DeadlinePassed, Happened, Incoming, Replied, Started
from sagas.models import MessageRecord, SagaRecord
from sagas.moves import Sending
from sagas.records import LoadedSaga
from sagas.registry import DEFINITIONS
from sagas.state import SagaState, StepStatus

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


def check(checked: Checked) -> Iterator[Finding]:
    """Everything that this release would do differently; `checked` is counted up. Four statements for 200 sagas."""
    after = UUID(int=0)
    while True:
        unfinished = SagaRecord.objects.filter(finished_at__isnull=True, id__gt=after).order_by("id")
        chunk = list(unfinished.values_list("id", flat=True)[:CHUNK])
        if not chunk:
            return
        after = chunk[-1]
        loaded = records.look(chunk, now=timezone.now()).sagas
        history: dict[UUID, list[MessageRecord]] = {saga_id: [] for saga_id in chunk}
        for record in MessageRecord.objects.filter(saga_id__in=chunk).order_by("id"):
            history[record.saga_id].append(record)
        for saga_id in chunk:
            if saga_id in loaded:  # else it has ended meanwhile, and was pruned
                checked.sagas += 1
                yield from _check(loaded[saga_id], history[saga_id], checked)


def _check(loaded: LoadedSaga, history: Sequence[MessageRecord], checked: Checked) -> Iterator[Finding]:
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
    if loaded.generation > 1:
        return  # a fork begins with what another saga had done
    checked.decided_again += 1
    yield from map(found, differences(definition, loaded.state, history))


def unbuildable(definition: Saga, saga: SagaState) -> Iterator[str]:
    """Commands that may still be sent, also to undo something, and cannot be made of what the saga was told."""
    for position, step in enumerate(definition.steps):
        state = saga.steps[position]
        still = [step.undo] if state.is_to_be_undone or state.status in _MAY_BE_UNDONE else []
        still += [step.command, step.ask] if state.status in _MAY_BE_SENT else []
        for command in still:
            if command is None or not definition.takes_from(position, command) <= saga.data.keys():
                continue
            try:
                definition.build(position, command, saga.data, reason=saga.reason)
            except (KeyError, msgspec.ValidationError) as error:
                yield f"{command.__name__} of step {step.name} cannot be made of what it was told: {_plain(error)}"


_MAY_BE_SENT = (StepStatus.PENDING, StepStatus.SENT, StepStatus.ASKING, StepStatus.HELD)
_MAY_BE_UNDONE = (StepStatus.SENT, StepStatus.ASKING, StepStatus.HELD, StepStatus.UNDOING, StepStatus.STUCK)


def differences(definition: Saga, stored: SagaState, history: Sequence[MessageRecord]) -> Iterator[str]:
    """In what the saga, decided again, is not what it became."""
    saga, sent = begin(definition, stored.id), Counter[tuple[str, str, bytes]]()
    for record in history:
        if record.direction == MessageRecord.Direction.SENT:
            continue
        try:
            incoming = _incoming(record, definition)
        except (KeyError, ValueError) as error:
            yield f"{record.type} cannot be read any more: {_plain(error)}"
            return
        if incoming is None:
            continue
        try:
            decision = decide(definition, saga, incoming, now=record.noted_at or record.at, policy=policy())
        except (ActionRefused, KeyError, msgspec.ValidationError) as error:
            yield f"on {record.type} this release cannot decide: {_plain(error)}"
            return
        saga = decision.saga
        sent.update(_sent(sending) for sending in decision.sendings)
    recorded = Counter(
        (record.step, record.type, _canonical(record.body))
        for record in history
        if record.direction == MessageRecord.Direction.SENT
    )
    for step, wire_type, _ in recorded - sent:
        yield f"it has sent {wire_type} of step {step}, which this release would not have sent so"
    if stored.is_withheld or any(step.counted_at for step in stored.steps):
        return  # what a switch holds back would have been sent
    for step, wire_type, _ in sent - recorded:
        yield f"this release would have sent {wire_type} of step {step}, which it has not"
    for now, before in zip(saga.steps, stored.steps, strict=True):
        if now.status is not before.status:
            yield f"step {before.name} is {before.status}, and this release would have it {now.status}"
    if _canonical(saga.data) != _canonical(stored.data):
        yield "it would know something else of what it was told"


def _incoming(record: MessageRecord, definition: Saga) -> Incoming | None:
    """What the saga was decided on then; raises `KeyError` or `ValueError` where it cannot be read."""
    if record.direction == MessageRecord.Direction.TIME:
        return DeadlinePassed(tuple(record.body["steps"]))
    if record.direction == MessageRecord.Direction.PERSON:
        action: Action = msgspec.convert({"type": record.type, "step": record.step}, type=Action)
        return action
    message = MESSAGE_TYPES[record.type].from_payload(record.body)
    if isinstance(message, (NoteDeadLetter, NoteDiscardedLetter)):
        return message
    if not isinstance(message, Event):
        return None
    if isinstance(message, definition.starts) and not record.step:
        return Started(message)
    if record.step in definition.positions and not isinstance(definition.step(record.step), Wait):
        return Replied(record.step, 1, message)
    return Happened(message)


def _sent(sending: Sending) -> tuple[str, str, bytes]:
    command = sending.command
    return sending.step, command.wire_type, _canonical(command.to_payload())


def _canonical(body: object) -> bytes:
    return msgspec.json.encode(body, order="sorted")


def _plain(error: Exception) -> str:
    """What is wrong, without a value of a customer's: validation names the field and the type only."""
    return f"{type(error).__name__}: {error}"
