"""`manage.py audit`: the invariants of the whole shop."""

from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandParser

from operations.audit import audit


class Command(BaseCommand):
    help = (
        "Checks the invariants from every service's database and the gateway's books. Exits 1 on a violation."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        report = audit()
        if options["json"]:
            self.stdout.write(msgspec.json.encode(report).decode())
        else:
            for line in report.notes:
                self.stdout.write(f"note: {line}")
            for line in report.violations:
                self.stdout.write(f"violation: {line}")
            self.stdout.write(f"{report.orders} orders checked, {len(report.violations)} violations")
        if report.violations:
            raise SystemExit(1)
