"""The failpoints of the code, each between two writes: where a test kills the process that comes by."""

POINTS = (
    "relay.claimed",
    "consumer.claimed",
    "consumer.handled",
    "relay.published",
    "consumer.flushed",
    "consumer.committed",
    "relay.deleted",
    "consumer.started",
    "consumer.called",
    "relay.committed",
    "consumer.concluded",
    "attempt.recorded",
    "attempt.committed",
)
"""All that orders come by; those of one process stand apart, since its supervisor waits longer each time it dies."""
