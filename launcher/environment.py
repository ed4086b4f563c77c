"""The environment of Makegood's processes, and the file that gives it to a second terminal."""

from collections.abc import Mapping
from pathlib import Path

from launcher.instance import Instance
from launcher.servers import DATABASE_URL, Servers
from launcher.state import write_private

SERVICES = ("orders", "inventory", "billing", "shipping", "notifications")
WORKERS = (*SERVICES, "operations")
"""The services that have a Celery worker; `operations` has one, and its tables in `default`."""
OWN_DATABASES = {f"{service.upper()}_DATABASE_URL": f"makegood_{service}" for service in SERVICES}
GIVEN = (
    "SECRET_KEY",
    "ALLOWED_HOSTS",
    "GATEWAY_URL",
    "GATEWAY_PUBLIC_URL",
    "EMAIL_URL",
    "FLOWER_URL",
    *OWN_DATABASES,
)


def for_services(
    instance: Instance,
    servers: Servers,
    given: Mapping[str, str],
    *,
    gateway_port: int,
    flower_port: int | None,
    demonstration: bool,
) -> dict[str, str]:
    """What settings need, by the names they read. What is `given` in the caller's environment wins.

    Each service has a database of its own on a server of ours; on a server given by its URL the services
    share that database, unless their own URLs are given too.
    """
    gateway = f"http://127.0.0.1:{gateway_port}"
    environment = {
        "SECRET_KEY": instance.secrets().secret_key,
        DATABASE_URL: servers.postgres.url(),
        "BROKER_URL": servers.rabbitmq.url(),
        "ALLOWED_HOSTS": "127.0.0.1,localhost",
        "GATEWAY_URL": gateway,
        "GATEWAY_PUBLIC_URL": gateway,
        "EMAIL_URL": f"filemail:///{instance.directory / 'emails'}",
        "DEMONSTRATION": "true" if demonstration else "false",
        "DEBUG": "false",
    }
    if flower_port is not None:
        environment["FLOWER_URL"] = f"http://127.0.0.1:{flower_port}/"
    if servers.postgres.is_private:
        for variable, database in OWN_DATABASES.items():
            environment[variable] = _with_database(environment[DATABASE_URL], database)
    environment.update({name: given[name] for name in GIVEN if given.get(name)})
    return environment


def write(path: Path, environment: Mapping[str, str]) -> None:
    """Replace the file; only its owner can read it, for it holds passwords."""
    lines = [f"{name}={value}\n" for name, value in sorted(environment.items())]
    write_private(
        path, "# Written by the launcher at every start; manage.py and the tests read it.\n" + "".join(lines)
    )


def read(path: Path) -> dict[str, str]:
    """The variables in a file that `write` wrote."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def _with_database(url: str, database: str) -> str:
    return f"{url.rpartition('/')[0]}/{database}"
