"""Databases made ready: created where they are missing, and migrated with what each of them owns."""

from collections.abc import Callable

import psycopg2
from django.apps import apps
from django.conf import settings
from django.contrib.auth.management import create_permissions
from django.db import connections, router
from django.db.migrations.executor import MigrationExecutor
from django.db.models.signals import post_migrate, pre_migrate
from psycopg2 import errors, sql

from deadletters.permissions import create_for_every_type
from operations.errors import DatabaseMissing


def create_databases(say: Callable[[str], None]) -> None:
    """Create each service's database that does not exist; raises `DatabaseMissing` where that is not allowed."""
    for alias in sorted(set(settings.SERVICES.values())):
        parameters = connections[alias].get_connection_params()
        parameters.pop("cursor_factory", None)
        name = parameters["dbname"]
        try:
            psycopg2.connect(**parameters).close()
            continue
        except psycopg2.OperationalError as error:
            if "does not exist" not in str(error):
                raise
        try:
            maintenance = psycopg2.connect(**{**parameters, "dbname": "postgres"})
            maintenance.autocommit = True
            with maintenance.cursor() as cursor:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            maintenance.close()
        except errors.DuplicateDatabase:
            continue
        except psycopg2.Error as error:
            raise DatabaseMissing(
                f"The database {name!r} ({alias}) does not exist and could not be created: {str(error).strip()}. "
                f'Create it by hand: createdb "{name}".'
            ) from error
        say(f"created the database {name}")


def migrate(say: Callable[[str], None]) -> None:
    """Bring each database to this release's tables. It records only the applications that it owns."""
    for alias in sorted(set(settings.SERVICES.values())):
        owned = {
            config.label for config in apps.get_app_configs() if router.allow_migrate(alias, config.label)
        }
        executor = MigrationExecutor(connections[alias])
        targets = [key for key in executor.loader.graph.leaf_nodes() if key[0] in owned]
        plan = executor.migration_plan(targets)
        if not plan:
            continue
        configs = [apps.get_app_config(label) for label in sorted(owned)]
        for config in configs:
            pre_migrate.send(
                sender=config, app_config=config, verbosity=0, interactive=False, using=alias, plan=plan
            )
        executor.migrate(targets, plan)
        for config in configs:
            post_migrate.send(
                sender=config, app_config=config, verbosity=0, interactive=False, using=alias, plan=plan
            )
        say(
            f"migrated {alias}: {len(plan)} migrations of {', '.join(sorted({m.app_label for m, _ in plan}))}"
        )
    # Users and their rights live in `default`, also the rights to see what the other databases hold.
    for config in apps.get_app_configs():
        create_permissions(config, using="default", verbosity=0, interactive=False)
    create_for_every_type()
