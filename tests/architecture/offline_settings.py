"""The project's settings without any server: for checks that read the code and connect to nothing.

mypy's Django plugin and `makemigrations --check` use it, so that both work where no shop has ever run.
"""

import os

_UNREACHABLE = {
    "SECRET_KEY": "read-only-checks",
    "DATABASE_URL": "postgres://nobody@127.0.0.1:1/makegood",
    "BROKER_URL": "amqp://nobody@127.0.0.1:1/",
    "ALLOWED_HOSTS": "127.0.0.1",
    "GATEWAY_URL": "http://127.0.0.1:1",
    "GATEWAY_PUBLIC_URL": "http://127.0.0.1:1",
    "EMAIL_URL": "consolemail://",
    "MAKEGOOD_ENV_FILE": os.devnull,
}
os.environ.update(_UNREACHABLE)

from project.settings import *  # noqa: E402, F403
