"""The failpoints of the code, each between two writes: where a test kills the process that comes by."""

ROUNDS = (
    ("relay.claimed", "orchestrator.received", "consumer.claimed", "batch.claimed"),
    ("relay.published", "orchestrator.decided", "consumer.handled", "consumer.flushed"),
    ("relay.deleted", "orchestrator.committed", "consumer.committed", "batch.flushed"),
    ("relay.committed", "consumer.started", "consumer.called", "batch.committed"),
    ("consumer.concluded", "attempt.recorded", "attempt.committed"),
)
"""All that orders come by, some at a time: one of each process, since its supervisor waits longer each time it dies;
those of consumers, batches and attempts kill children of workers, which are replaced at once."""

POINTS = tuple(point for points in ROUNDS for point in points)

ELSEWHERE = (
    *("collector.stored", "collector.committed", "prune.raised", "prune.deleted"),
    *("migration.waiting_room_bound", "migration.queue_unbound", "migration.window_published"),
    *("migration.queue_deleted", "migration.queue_declared", "migration.moved_back"),
)
"""Their processes are killed by the tests of the collector, of pruning and of a queue's migration."""
