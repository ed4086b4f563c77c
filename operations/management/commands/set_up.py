"""`manage.py set_up`: from empty servers to a shop that can be started."""

import os
import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from inventory.models import StockItem
from inventory.services import receive
from orders.catalogue import DEMONSTRATION_CATALOGUE, load_catalogue

DEMONSTRATION_STOCK = 100_000
SOLD_OUT = "lamp"
"""The one article of the demonstration that is never in stock."""


class Command(BaseCommand):
    help = (
        "Creates and migrates the databases, declares the topology, creates the user `admin`. Safe to repeat."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--demonstration", action="store_true", help="load a catalogue and stock as well")

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate_services", stdout=self.stdout)
        call_command("declare_topology", stdout=self.stdout)
        if options["demonstration"]:
            self._load_demonstration()
        self._create_admin()

    def _load_demonstration(self) -> None:
        load_catalogue()
        known = set(StockItem.objects.values_list("sku", flat=True))
        for sku in (entry[0] for entry in DEMONSTRATION_CATALOGUE):
            if sku not in known and sku != SOLD_OUT:
                receive(sku, DEMONSTRATION_STOCK)
        self.stdout.write(f"loaded a catalogue of {len(DEMONSTRATION_CATALOGUE)} articles")

    def _create_admin(self) -> None:
        users = get_user_model().objects
        if users.filter(username="admin").exists():
            return
        password = os.environ.get("ADMIN_PASSWORD", "")
        is_generated = not password
        if is_generated:
            password = secrets.token_urlsafe(12)
        users.create_superuser("admin", password=password)
        if is_generated:
            self.stdout.write(f"created the user admin, password {password} (shown only now)")
        else:
            self.stdout.write("created the user admin with the password of ADMIN_PASSWORD")
