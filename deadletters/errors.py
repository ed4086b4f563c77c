"""The errors of dead letters."""


class DeadLetterError(Exception):
    """Any error of this package."""


class Unreplayable(DeadLetterError):
    """The letter is not one of our messages, so there is nothing that could be sent again."""


class ReasonMissing(DeadLetterError):
    """An operator has to say why."""
