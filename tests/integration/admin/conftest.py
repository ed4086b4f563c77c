"""Operators of several ranks, and a count of what their pages cost."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from uuid import UUID

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.integration.admin.people import staff
from tests.integration.admin.records import RECORDS, record_order


@pytest.fixture(autouse=True)
def content_types() -> Iterator[None]:
    """Forget content types that were made in a test: they are rolled back with it, and Django remembers them."""
    ContentType.objects.clear_cache()
    yield
    ContentType.objects.clear_cache()


@pytest.fixture
def order_id(db: None) -> UUID:
    return record_order()


@pytest.fixture
def superuser(db: None) -> Client:
    """Somebody who may do whatever the admin offers."""
    client = Client()
    client.force_login(User.objects.create_superuser("superuser"))
    return client


@pytest.fixture
def reader(db: None) -> Client:
    """Somebody who may view every record, and is no superuser."""
    user = User.objects.create_user("reader", is_staff=True)
    for label in RECORDS:
        kind = ContentType.objects.get_for_model(apps.get_model(label))
        may_view, _ = Permission.objects.get_or_create(
            content_type=kind, codename=f"view_{kind.model}", defaults={"name": f"Can view {kind.model}"}
        )
        user.user_permissions.add(may_view)
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def client_with(db: None) -> Callable[..., Client]:
    """Somebody of the staff with these permissions and no others; a name without a dot is one on dead letters."""

    def client_with_(*names: str) -> Client:
        labels = [name if "." in name else f"deadletters.{name}_deadletter" for name in names]
        return staff("-".join(names) or "nobody", *labels)

    return client_with_


@pytest.fixture
def statements() -> Callable[[], AbstractContextManager[Callable[[], int]]]:
    """Counts the statements that run inside, in every database."""

    @contextmanager
    def counting() -> Iterator[Callable[[], int]]:
        with ExitStack() as stack:
            captured = [
                stack.enter_context(CaptureQueriesContext(connections[alias])) for alias in connections
            ]
            yield lambda: sum(len(queries) for queries in captured)

    return counting
