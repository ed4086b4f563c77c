"""The errors of messaging. Only the first two are for handlers to raise."""


class MessagingError(Exception):
    """Any error of this package."""


class TransientError(MessagingError):
    """The attempt failed and another may succeed: it is made after a pause that grows with each attempt."""


class PermanentError(MessagingError):
    """No further attempt can succeed: the message goes to the dead letters at once."""


class InvalidMessage(PermanentError):
    """The message cannot be understood: its type, its headers or its body are not what the contract says."""


class Expired(PermanentError):
    """The message is older than the oldest key that its consumer still has: whether it was handled cannot be told."""


class NoUnitOfWork(MessagingError):
    """Something was sent or published outside of a unit of work, where a crash could lose it."""


class LeaseLost(MessagingError):
    """Another delivery has taken the gateway call over; what this one learned is not stored."""


class Unroutable(MessagingError):
    """A command has no queue in the topology."""


class InvalidPolicy(MessagingError):
    """A retry policy cannot be meant as it is declared; `field` is what is wrong with it."""

    def __init__(self, field: str, found: object, wanted: str) -> None:
        super().__init__(f"RetryPolicy: `{field}` is {found!r}; it must be {wanted}.")
        self.field = field
