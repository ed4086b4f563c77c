"""A saga decided again from its recorded history, by the definition of this release. Reads and sends nothing.

Times decide nothing then, for the history says which deadlines were missed. Pause switches do: they are those that were
set when the saga was decided on.
"""

import re
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from contracts.catalogue import MESSAGE_TYPES
from contracts.message import Event
from contracts.sagas import NoteDeadLetter, NoteDiscardedLetter
from sagas.decide import begin, decide
from sagas.definition import Saga
from sagas.errors import ActionRefused
from sagas.incoming import Action, DeadlinePassed, Happened, Incoming, Replied, Started
from sagas.models import MessageRecord
from sagas.moves import Policy, Sending
from sagas.state import SagaState
from sagas.switches import Switch

Sent = tuple[str, str, bytes]
"""Step, wire type and body of a command."""
ABOUT_THEN = timedelta(seconds=5)
"""A switch is set, or lifted, a moment before others see it."""


class NotReadable(Exception):
    """Something in the history means nothing to this release; the message says what."""


def differences(
    definition: Saga,
    stored: SagaState,
    history: Sequence[MessageRecord],
    *,
    policy: Policy,
    switches: Sequence[Switch] = (),
) -> Iterator[str]:
    """In what the saga, decided again, is not what it became. `switches` are all that ever were in its time."""
    replay = _Replay(definition, begin(definition, stored.id), policy, switches)
    for position, record in enumerate(history):
        if record.direction == MessageRecord.Direction.SENT:
            replay.expect(_recorded(record), at=_time_of(record))
            continue
        try:
            incoming = _incoming(record, definition)
            if incoming is not None:
                replay.decide(incoming, at=_time_of(record), then=_sent_upon(history, position))
        except NotReadable as error:
            yield str(error)
            return
        except ActionRefused as error:
            yield f"what a person did to it then ({record.type}) is refused by this release: {error}"
            return
        except Exception as error:  # a `build` may raise anything
            yield f"on {record.type} this release cannot decide: {plain(error)}"
            return
    for step, wire_type, _ in replay.unexpected:
        yield f"it has sent {wire_type} of step {step}, which this release would not have sent so"
    for step, wire_type, _ in +replay.ahead:
        yield f"this release would have sent {wire_type} of step {step}, which it has not"
    if replay.saga.status is not stored.status:
        yield f"it is {stored.status}, and this release would have it {replay.saga.status}"
    for now, before in zip(replay.saga.steps, stored.steps, strict=True):
        if now.status is not before.status:
            yield f"step {before.name} is {before.status}, and this release would have it {now.status}"
    if _canonical(replay.saga.data) != _canonical(stored.data):
        yield "this release would know something else of what it was told"


class _Replay:
    """The saga as this release has it, and what it has sent beside what was sent."""

    def __init__(self, definition: Saga, saga: SagaState, policy: Policy, switches: Sequence[Switch]) -> None:
        self._definition = definition
        self._policy = policy
        self._switches = switches
        self.saga = saga
        self.ahead = Counter[Sent]()
        """What it has sent and the history has not yet."""
        self.unexpected = Counter[Sent]()
        """What the history has sent and it has not."""

    def decide(self, incoming: Incoming, *, at: datetime, then: Counter[Sent]) -> None:
        """Take it in as it was taken in then, when these commands were sent upon it."""
        self.saga, sent = self._decided(incoming, at=at, is_so=lambda sent: sent == then)
        self.ahead += sent

    def expect(self, sent: Sent, *, at: datetime) -> None:
        """The history has sent this. That a switch was lifted is not in it, only what was sent then."""
        if self.ahead[sent] < 1 and self.saga.is_withheld:
            saga, released = self._decided(DeadlinePassed(()), at=at, is_so=lambda found: found[sent] > 0)
            if released[sent]:
                self.saga = saga
                self.ahead += released
        if self.ahead[sent] > 0:
            self.ahead[sent] -= 1
        else:
            self.unexpected[sent] += 1

    def _decided(
        self, incoming: Incoming, *, at: datetime, is_so: Callable[[Counter[Sent]], bool]
    ) -> tuple[SagaState, Counter[Sent]]:
        """What it becomes, and sends, by the switches that make it so; where none do, by those of that time."""
        found = []
        for switches in self._views(at):
            decision = decide(
                self._definition, self.saga, incoming, now=at, policy=self._policy, switches=switches
            )
            sent = Counter(map(_sent, decision.sendings))
            found.append((decision.saga, sent))
            if is_so(sent):
                return found[-1]
        return found[0]

    def _views(self, at: datetime) -> Iterator[list[Switch]]:
        """The switches as they were at this time, and as they may have been seen a moment before or after it.

        What a circuit breaker has to say of a time may come much later, so at last: none of them, or all.
        """
        if not self._switches:
            yield []
            return
        for seen_at in (at, at - ABOUT_THEN, at + ABOUT_THEN):
            yield list(_as_seen(self._switches, seen_at))
        yield []
        yield [msgspec.structs.replace(switch, lifted_at=None) for switch in self._switches]


def _as_seen(switches: Sequence[Switch], at: datetime) -> Iterator[Switch]:
    """Those that were set at this time. One that was lifted only moves deadlines on, which decide nothing here."""
    for switch in switches:
        if switch.set_at <= at and (switch.lifted_at is None or switch.lifted_at > at):
            yield msgspec.structs.replace(switch, lifted_at=None)


def _incoming(record: MessageRecord, definition: Saga) -> Incoming | None:
    """What the saga was decided on then; None for what never moves one. Raises `NotReadable`."""
    if record.direction == MessageRecord.Direction.TIME:
        return DeadlinePassed(tuple(record.body["steps"]))
    if record.direction == MessageRecord.Direction.PERSON:
        try:
            action: Action = msgspec.convert({"type": record.type, "step": record.step}, type=Action)
        except msgspec.ValidationError as error:
            raise NotReadable(
                f"a person did {record.type!r} to it, which this release does not know"
            ) from error
        return action
    message_type = MESSAGE_TYPES.get(record.type)
    if message_type is None:
        raise NotReadable(f"it received {record.type}, which this release does not have in contracts/")
    try:
        message = message_type.from_payload(record.body)
    except msgspec.ValidationError as error:
        raise NotReadable(
            f"{record.type} that it received cannot be read any more: {plain(error)}"
        ) from error
    if isinstance(message, (NoteDeadLetter, NoteDiscardedLetter)):
        return message
    if not isinstance(message, Event):
        return None
    if isinstance(message, definition.starts) and not record.step:
        return Started(message)
    if definition.is_reply(record.step, message):
        return Replied(record.step, 1, message)
    return Happened(message)


def _sent_upon(history: Sequence[MessageRecord], position: int) -> Counter[Sent]:
    """What the saga sent upon this record, as it is recorded right behind it."""
    found = Counter[Sent]()
    for record in history[position + 1 :]:
        if record.direction != MessageRecord.Direction.SENT:
            break
        found[_recorded(record)] += 1
    return found


def _recorded(record: MessageRecord) -> Sent:
    return record.step, record.type, _canonical(record.body)


def _sent(sending: Sending) -> Sent:
    command = sending.command
    return sending.step, command.wire_type, _canonical(command.to_payload())


def _time_of(record: MessageRecord) -> datetime:
    return record.noted_at or record.at


def _canonical(body: object) -> bytes:
    return msgspec.json.encode(body, order="sorted")


def plain(error: Exception) -> str:
    """What is wrong and where in the code, without a value of a customer's, which errors like to quote."""
    if isinstance(error, msgspec.ValidationError):
        return re.sub(r"'.*'", "…", str(error), flags=re.DOTALL)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {frame.name} ({Path(frame.filename).name}, line {frame.lineno})"
