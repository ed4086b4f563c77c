"""gunicorn's settings for the web process."""

import os

bind = os.environ.get("BIND", f"127.0.0.1:{os.environ.get('PORT', '8000')}")
worker_class = "gthread"
workers = int(os.environ.get("WEB_WORKERS", "1"))
threads = int(os.environ.get("WEB_THREADS", "40"))
"""Every open order page holds a thread while it waits for news; `orders.live` bounds how many may."""
graceful_timeout = 3
timeout = 60
keepalive = 5
control_socket_disable = True  # one address for every process of a user would be shared by several shops


def post_worker_init(worker: object) -> None:
    """End open order pages at once when the process is told to stop."""
    import signal

    from orders import live

    live.stop_at_signals(signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
