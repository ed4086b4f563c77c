"""`manage.py prune`: delete what is old enough and needed by nobody."""

from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandParser
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from operations.pruning import Pruned, prune


class Command(BaseCommand):
    help = (
        "Deletes old idempotency keys, failed attempts, requests, results and sessions, in short transactions. "
        "Safe to repeat, to interrupt and to run beside itself."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count what would be deleted")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        tasks: dict[str, Any] = {}
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,} rows"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

            def tick(what: str, rows: int) -> None:
                if what not in tasks:
                    tasks[what] = progress.add_task(what, total=None)
                progress.advance(tasks[what], rows)

            report = prune(is_dry_run=options["dry_run"], tick=tick)
        if options["json"]:
            self.stdout.write(msgspec.json.encode(report).decode())
        else:
            self._tell(report)

    def _tell(self, report: Pruned) -> None:
        verb = "would be deleted" if report.is_dry_run else "deleted"
        for what, rows in report.pruned.items():
            self.stdout.write(f"{what}: {rows:,} {verb}")
        for service, rows in report.kept_keys.items():
            self.stdout.write(f"idempotency keys of {service}: {rows:,} old ones are still needed")
        if report.waiting:
            self.stdout.write(
                f"keys of {', '.join(report.waiting)}: their limit is too new, or not set yet; a later run deletes"
            )
        if not report.pruned:
            self.stdout.write("nothing is old enough")
        if not report.is_complete:
            self.stdout.write("stopped after PRUNE_LONGEST seconds; the next run goes on")
