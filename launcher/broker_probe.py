"""Whether a broker can serve: declares a queue. Needs the virtualenv's AMQP client."""

import sys
import time
from urllib.parse import unquote, urlsplit

import amqp  # type: ignore[import-untyped]


def declare(url: str) -> None:
    """Declare a queue that vanishes with the connection; raises what the client raises."""
    parts = urlsplit(url)
    connection = amqp.Connection(
        host=f"{parts.hostname}:{parts.port or 5672}",
        userid=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        virtual_host=unquote(parts.path[1:]),
        connect_timeout=5,
        read_timeout=10,
    )
    with connection, connection.channel() as channel:
        channel.queue_declare(exclusive=True)


def main(url: str, seconds: float) -> int:
    deadline = time.monotonic() + seconds
    while True:
        try:
            declare(url)
            return 0
        except (OSError, amqp.AMQPError) as error:
            if time.monotonic() >= deadline:
                print(f"{type(error).__name__}: {error}")
                return 1
            time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2])))
