"""The workshop: a relay and the worker that makes trouble, for faults that the whole shop should not suffer."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from messaging.models import OutboxMessage
from tests.databases import Databases
from tests.faults.proxy import Proxy, port_of
from tests.faults.workshop import Workshop
from tests.running_shop import used_by_a_test


@pytest.fixture(scope="session")
def running_workshop(
    databases: Databases,
    django_db_setup: None,
    django_db_blocker,
    suite_broker_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Workshop]:
    """Started once for all tests that need one, on the suite's virtual host."""
    with ExitStack() as stack:
        with django_db_blocker.unblock():
            workshop = Workshop(
                databases=databases, folder=tmp_path_factory.mktemp("workshop"), broker_url=suite_broker_url
            )
            to = (port_of(suite_broker_url), port_of(workshop.environment["DATABASE_URL"]))
            proxies = [stack.enter_context(Proxy(to=port)) for port in (*to, *to)]
            workshop.put_between(*proxies)
            with used_by_a_test(workshop):
                try:
                    workshop.start()
                except BaseException:
                    workshop.stop()
                    raise
        yield workshop
        with django_db_blocker.unblock():
            workshop.stop()


@pytest.fixture
def workshop(running_workshop: Workshop, django_db_blocker) -> Iterator[Workshop]:
    """The workshop in good order, its queue and outbox empty, with this process connected to its databases."""
    with django_db_blocker.unblock(), used_by_a_test(running_workshop):
        running_workshop.wait_for_consumer()
        running_workshop.purge()
        OutboxMessage.objects.all().delete()
        yield running_workshop
        running_workshop.heal()
