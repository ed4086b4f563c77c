"""`manage.py migrate_services`: each database gets the tables of the services that live in it, and no others."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from operations.errors import OperationsError
from operations.provisioning import create_databases, migrate


class Command(BaseCommand):
    help = "Creates the services' databases where they are missing, and migrates each. Safe to repeat."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            create_databases(self.stdout.write)
            migrate(self.stdout.write)
        except OperationsError as error:
            raise CommandError(str(error)) from error
        self.stdout.write("every database is up to date")
