"""What may happen to a saga: messages, time, and what people do to it."""

import msgspec

from contracts.message import Event
from contracts.sagas import NoteDeadLetter, NoteDiscardedLetter


class Started(msgspec.Struct, frozen=True):
    """The message that starts the saga has come, for the first time."""

    event: Event


class Replied(msgspec.Struct, frozen=True):
    """A service has answered the command of a step, or of its compensation, or what it was asked about it."""

    step: str
    step_try: int
    event: Event


class Happened(msgspec.Struct, frozen=True):
    """An event from outside has come, for which a step of this saga waits."""

    event: Event


class DeadlinePassed(msgspec.Struct, frozen=True):
    """Time has passed, or a pause switch was lifted; which steps are overdue follows from the time given.

    `steps` names them instead where what happened once is decided again; the name '' is the saga's own deadline.
    """

    steps: tuple[str, ...] | None = None


class PauseSaga(msgspec.Struct, frozen=True, tag="pause"):
    """A person stops the saga: nothing is sent any more, and its deadlines stand still."""


class ResumeSaga(msgspec.Struct, frozen=True, tag="resume"):
    """A person lets it go on."""


class RetryStep(msgspec.Struct, frozen=True, tag="retry"):
    """A person has the step's command, or its compensation's, sent now, under the idempotency key that it had."""

    step: str


class SkipStep(msgspec.Struct, frozen=True, tag="skip"):
    """A person says that the step is done without its reply."""

    step: str


class CancelSaga(msgspec.Struct, frozen=True, tag="cancel"):
    """A person has everything undone."""


class MarkUndone(msgspec.Struct, frozen=True, tag="mark_undone"):
    """A person has undone the step by hand."""

    step: str


Action = PauseSaga | ResumeSaga | RetryStep | SkipStep | CancelSaga | MarkUndone
"""What people do to one saga."""

Incoming = Started | Replied | Happened | DeadlinePassed | NoteDeadLetter | NoteDiscardedLetter | Action
