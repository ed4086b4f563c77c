"""The suite's own servers, as `make test` starts them: databases of the run, and a virtual host of the broker.

What a test needs and this machine does not have skips the test and says why; in CI it fails.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import psycopg2
import pytest
from amqp.exceptions import AMQPError
from django.conf import settings
from django.db import connections
from kombu import Connection
from kombu.exceptions import OperationalError

from tests.databases import Databases, connected_to
from tests.running_shop import RunningShop, used_by_a_test

HERE = Path(__file__).resolve().parent
ORDER = ("unit", "architecture", "integration", "journeys", "browser", "system")
"""What is quick and small comes first."""


def unavailable(reason: str) -> NoReturn:
    """Skip the test where a person runs it, fail where CI does."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def pytest_configure(config: pytest.Config) -> None:
    # Static files are found in the packages; the folder exists only where an image was built.
    config.addinivalue_line("filterwarnings", "ignore:No directory at:UserWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run folder by folder, and let a test that uses the database use each service's."""
    items.sort(key=lambda item: _place(item.path))
    for item in items:
        marker = item.get_closest_marker("django_db")
        fixtures = getattr(item, "fixturenames", ())
        if (marker is None and "db" in fixtures) or (marker is not None and "databases" not in marker.kwargs):
            item.add_marker(pytest.mark.django_db(databases="__all__"), append=False)


def _place(path: Path) -> int:
    folder = path.relative_to(HERE).parts[0] if path.is_relative_to(HERE) else ""
    return ORDER.index(folder) if folder in ORDER else len(ORDER)


@pytest.fixture(scope="session")
def databases(django_db_blocker) -> Iterator[Databases]:
    """The database server, with templates for whoever needs databases of his own."""
    with django_db_blocker.unblock():
        try:
            databases = Databases()
        except psycopg2.OperationalError as error:
            unavailable(f"PostgreSQL does not answer ({str(error).strip()}). Run the tests with: make test")
        databases.prepare_templates()
    yield databases


@pytest.fixture(scope="session")
def django_db_setup(databases: Databases, django_db_blocker) -> Iterator[None]:
    """Connect every alias to a fresh database of this run, with the catalogue and its stock."""
    prefix = f"suite_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with django_db_blocker.unblock():
        names = databases.clone(prefix)
        with connected_to(names):
            yield
        for name in names.values():
            databases.drop(name)


@pytest.fixture
def committed(django_db_setup: None, django_db_blocker) -> Iterator[None]:
    """Real transactions, which stay: nothing is rolled back and nothing flushed afterwards."""
    with django_db_blocker.unblock():
        yield
        connections.close_all()


@pytest.fixture(scope="session")
def suite_broker_url() -> str:
    """A virtual host of the broker where nothing but the tests consumes."""
    own = urlsplit(settings.BROKER_URL)._replace(path="/suite").geturl()
    try:
        with Connection(own, connect_timeout=5) as connection:
            connection.ensure_connection(max_retries=2, timeout=10)
    except (OSError, AMQPError, OperationalError) as error:
        unavailable(f"RabbitMQ has no virtual host `suite` for the tests ({error}). Run them with: make test")
    return own


@pytest.fixture
def broker_url(suite_broker_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """That virtual host, for this test also the one of the settings."""
    monkeypatch.setattr(settings, "BROKER_URL", suite_broker_url)
    return suite_broker_url


@pytest.fixture(scope="session")
def running_shop(
    databases: Databases, django_db_setup: None, django_db_blocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningShop]:
    """A whole shop in real processes, started once for all tests that need one."""
    with django_db_blocker.unblock():
        shop = RunningShop(databases=databases, folder=tmp_path_factory.mktemp("shop"))
    with used_by_a_test(shop), django_db_blocker.unblock():
        try:
            shop.start()
        except BaseException:
            shop.stop()
            raise
    yield shop
    shop.stop()


@pytest.fixture
def shop(running_shop: RunningShop, django_db_blocker) -> Iterator[RunningShop]:
    """The running shop, with this process connected to its databases."""
    with django_db_blocker.unblock(), used_by_a_test(running_shop):
        running_shop.wait_until_ready()
        yield running_shop


Outcome = TypeVar("Outcome")


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    """Ask until the answer is true, and return it: no test sleeps for a fixed time."""

    def eventually_(
        question: Callable[[], Outcome],
        *,
        timeout: float = 30,
        every: float = 0.02,
        tell: Callable[[], object] = str,
    ) -> Outcome:
        deadline = time.monotonic() + timeout
        while not (answer := question()):
            if time.monotonic() > deadline:
                pytest.fail(f"After {timeout:g} s still {answer!r}. {tell()}")
            time.sleep(every)
        return answer

    return eventually_
