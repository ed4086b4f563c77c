"""`manage.py streams gaps|skip`: what ordered consumers wait for."""

import getpass
from typing import Any

import msgspec
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from messaging.envelope import utc_now
from messaging.gaps import CannotSkip, gaps, skip


class Command(BaseCommand):
    help = (
        "Lists the gaps in streams that are consumed in order, or gives up events that will never come. "
        "Look for the missing event among the dead letters first: replayed, it closes the gap."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        listing = actions.add_parser("gaps", help="what is waited for, the oldest first")
        listing.add_argument("--json", action="store_true")
        skipping = actions.add_parser("skip", help="give up events of one stream, up to a number")
        skipping.add_argument("service", choices=sorted(settings.SERVICES))
        skipping.add_argument("stream")
        skipping.add_argument("sequence", type=int, help="the last number that is given up")
        skipping.add_argument("--reason", required=True)
        skipping.add_argument("--by", default=getpass.getuser(), help="who decides it")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "gaps":
            self._list(as_json=options["json"])
            return
        service, stream, sequence = options["service"], options["stream"], options["sequence"]
        try:
            first = skip(service, stream, up_to=sequence, reason=options["reason"], by=options["by"])
        except CannotSkip as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{service} goes on with number {sequence + 1} of {stream}")
        self.stdout.write(f"given up: {first.sequence} to {sequence}")

    def _list(self, *, as_json: bool) -> None:
        now = utc_now()
        found = [gap for service in sorted(settings.SERVICES) for gap in gaps(service, before=now)]
        if as_json:
            self.stdout.write(msgspec.json.encode(found).decode())
            return
        for gap in found:
            waiting = round((now - gap.since).total_seconds())
            numbers = str(gap.first) if gap.first == gap.last else f"{gap.first} to {gap.last}"
            self.stdout.write(
                f"{gap.service}: number {numbers} of {gap.stream} is missing, {gap.held} held back for {waiting} s"
            )
        self.stdout.write(f"{len(found)} gaps")
