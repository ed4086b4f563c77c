"""Each database has the tables of the services that live in it, and says so to nobody else."""

import pytest
from django.conf import settings
from django.db import connections

from operations.provisioning import create_databases, migrate
from project.routers import apps_of
from tests.databases import aliases

pytestmark = pytest.mark.django_db


def names(alias: str, statement: str) -> set[str]:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement)
        return {name for (name,) in cursor.fetchall()}


@pytest.mark.parametrize("alias", aliases())
def test_a_database_has_its_own_services_tables_only(alias):
    tables = names(alias, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")

    for service, home in settings.SERVICES.items():
        own = {table for table in tables if table.startswith(f"{service}_")}
        assert bool(own) == (home == alias and service != "operations"), (service, own)
    assert {"messaging_outboxmessage", "messaging_idempotencykey", "eventstore_storedevent"} <= tables


@pytest.mark.parametrize("alias", aliases())
def test_a_database_records_no_migration_that_it_does_not_have(alias):
    assert names(alias, "SELECT DISTINCT app FROM django_migrations") <= apps_of(alias)


def test_it_may_be_repeated():
    said: list[str] = []

    create_databases(said.append)
    migrate(said.append)

    assert said == []
