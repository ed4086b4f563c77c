"""What all contenders of `sagas` agree on: the row that a step changes, and what the peers call their queues and tasks.

An order of number n changes row n of each step. `effect` is 1 for what is done, -1 for what is undone and 0 for a
refusal, and `version` counts all three: after a turn both sums say whether each effect was made exactly once.
"""

RESERVE, AUTHORIZE, SHIP = "reserve", "authorize", "ship"
STEPS = (RESERVE, AUTHORIZE, SHIP)
CHANGE = """
UPDATE benchmarks_effect SET value = value + %s, version = version + 1 WHERE step = %s AND counter = %s
RETURNING version"""
DONE, UNDONE, REFUSED = 1, -1, 0

CHAIN_QUEUE = "saga-chain"
CELERY_SAGA_QUEUE = "celery-saga"
CELERY_SAGA_TABLE = "benchmarks_celery_saga"
