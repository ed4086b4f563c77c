"""The failpoints of the code, each between two writes: where a test kills the process that comes by."""

POINTS = (
    "relay.claimed",
    "consumer.claimed",
    "orchestrator.received",
    "consumer.handled",
    "relay.published",
    "consumer.flushed",
    "batch.claimed",
    "consumer.committed",
    "orchestrator.decided",
    "relay.deleted",
    "batch.flushed",
    "consumer.started",
    "batch.committed",
    "relay.committed",
    "consumer.called",
    "orchestrator.committed",
    "consumer.concluded",
    "attempt.recorded",
    "attempt.committed",
)
"""All that orders come by; those of one process stand apart, since its supervisor waits longer each time it dies."""

ELSEWHERE = (
    *("collector.stored", "collector.committed", "prune.raised", "prune.deleted"),
    *("migration.waiting_room_bound", "migration.queue_unbound", "migration.window_published"),
    *("migration.queue_deleted", "migration.queue_declared", "migration.moved_back"),
)
"""Their processes are killed by the tests of the collector, of pruning and of a queue's migration."""
