"""What the sagas listen to. They have a consumer of their own, the orchestrator, instead of a worker."""

from contracts.sagas import CheckDeadlines
from messaging.handling import subscribe
from sagas.registry import DEFINITIONS

SERVICE = "sagas"
MESSAGE_TYPES = {CheckDeadlines.wire_type}.union(*(saga.message_types() for saga in DEFINITIONS.values()))

subscribe(SERVICE, MESSAGE_TYPES)
