"""What both sides of the comparison call the peer's queue and task."""

QUEUE = "peer"
TASK = "peer.count_up"
