"""What both sides of the comparison call the bare task and its queue."""

QUEUE = "bare"
TASK = "bare.count_up"
