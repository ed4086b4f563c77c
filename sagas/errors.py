"""The errors of the saga engine."""

from messaging.errors import PermanentError, TransientError


class SagaError(Exception):
    """Any error of this package."""


class InvalidDefinition(SagaError):
    """A saga's table of steps cannot be carried out."""

    def __init__(self, saga: str, problem: str) -> None:
        super().__init__(f"The saga {saga!r} is not well defined: {problem}.")


class UnknownSaga(SagaError, PermanentError):
    """A reply is for a saga that is not in the database."""


class NotBegunYet(SagaError, TransientError):
    """An event from outside has come before what starts the saga that waits for it, or while that was run again."""


class UnreadableDelivery(SagaError):
    """The client library could not make a message of what the broker has delivered."""


class MissingDefinition(SagaError):
    """Running sagas need a definition that this release does not have."""


class ActionRefused(SagaError):
    """People cannot do this to the saga as it is; the message says why, and what they can do."""


class NotPermitted(SagaError):
    """Somebody wants what they may not do; it is in the operators' log."""


class WrongRequest(SagaError):
    """What is asked of the desk makes no sense; the message says what to ask instead."""
