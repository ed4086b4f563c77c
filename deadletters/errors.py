"""The errors of dead letters."""


class DeadLetterError(Exception):
    """Any error of this package."""


class Unreplayable(DeadLetterError):
    """The letter is not one of our messages, so there is nothing that could be sent again."""


class ReasonMissing(DeadLetterError):
    """An operator has to say why."""


class WrongFilter(DeadLetterError):
    """What was asked for names no letters: a parameter has a value that it cannot have."""


class WrongRequest(DeadLetterError):
    """What was asked for cannot be: a time that has passed, or a rate at which nothing would be sent."""


class NotPermitted(DeadLetterError):
    """Whoever asked may not do this. The refusal is in the operators' log."""


class InTransaction(DeadLetterError):
    """A dry run undoes all that its transaction has done, so it has to begin that itself."""


class LeavesItsDatabase(DeadLetterError):
    """A handler has turned to a database that is not its service's: a dry run could not undo what it does there."""


class WrongMove(DeadLetterError):
    """The job or the edit is not in a state from which this can be done."""


class JobEnded(DeadLetterError):
    """A bulk job did not come to its end; how Celery's results tell of one that has stopped or was cancelled."""


class InvalidEdit(DeadLetterError):
    """The letter cannot be edited so: the message does not keep its type's schema, changes nothing, or comes too late.

    `noted` says the same without values, which may be personal.
    """

    def __init__(self, message: str, *, noted: str = "") -> None:
        super().__init__(message)
        self.noted = noted or message
