"""The errors of the event store."""


class EventStoreError(Exception):
    """Any error of this package."""


class ConcurrentAppend(EventStoreError):
    """Somebody else appended to the stream first: read it again and decide anew."""

    def __init__(self, *, stream: str, expected_version: int) -> None:
        super().__init__(
            f"Stream {stream!r} is no longer at version {expected_version}: another writer came first. "
            "Load its state again and decide on that."
        )
        self.stream = stream
        self.expected_version = expected_version


class UnknownEventType(EventStoreError):
    """The store holds an event that this release has no type for."""
