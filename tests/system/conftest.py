"""Workshops: parts of the shop, for faults that the whole shop should not suffer."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from tests.databases import Databases
from tests.faults.workshop import Workshop
from tests.running_shop import used_by_a_test

OpenWorkshop = Callable[..., AbstractContextManager[Workshop]]


@pytest.fixture(scope="module")
def open_workshop(
    databases: Databases,
    django_db_setup: None,
    django_db_blocker,
    suite_broker_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> OpenWorkshop:
    """Makes a workshop on the suite's virtual host, with this process connected to its databases."""

    @contextmanager
    def opened(*only: str, **options: Any) -> Iterator[Workshop]:
        with django_db_blocker.unblock():
            workshop = Workshop(
                databases=databases,
                folder=tmp_path_factory.mktemp("workshop"),
                broker_url=options.pop("broker_url", suite_broker_url),
                only=only,
                **options,
            )
            with used_by_a_test(workshop):
                try:
                    workshop.start()
                    yield workshop
                finally:
                    workshop.stop()

    return opened
