"""gunicorn's settings for the gateway: one process, so that one lock guards the books."""

import os

if not os.environ.get("GATEWAY_PORT", "").isdigit():
    raise SystemExit(f"GATEWAY_PORT is {os.environ.get('GATEWAY_PORT')!r}. Set it to the port to listen on.")

bind = f"127.0.0.1:{os.environ['GATEWAY_PORT']}"
worker_class = "gthread"
workers = 1
threads = 32
"""Twice as many as answers may hang at once (`simulator.api.MOST_HANGING`): the others are still served."""
keepalive = 75
"""Seconds. Longer than clients are idle between two orders: reconnecting costs more than a request."""
graceful_timeout = 3
accesslog = None
control_socket_disable = True
