"""`manage.py place_orders`: orders by the hundred, placed through the same code as the form's."""

import time
from functools import partial
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from operations.mix import CARDS, MIXES, of_mix, of_one_kind, with_cancellations
from operations.placing import Summary, ended_among, patiently, place, sum_up
from orders.errors import OrdersError

POLL = 0.25
"""Seconds between looks at the orders that are not finished yet."""


class Command(BaseCommand):
    help = "Places orders and, with --wait, sums up what became of them. Exits 1 where one is unfinished or wrong."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--count", type=int, required=True, help="how many orders")
        parser.add_argument(
            "--rate", type=float, help="at most so many a second (default: as fast as can be)"
        )
        parser.add_argument("--card", default="approved", help=f"{', '.join(CARDS)}, or a token")
        parser.add_argument(
            "--postcode", default="10115", help="00000 cannot be served; to 99999 parcels leave at once"
        )
        parser.add_argument("--sku", default="mug")
        parser.add_argument("--quantity", type=int, default=1)
        parser.add_argument("--mix", choices=sorted(MIXES), help="cards, articles and postcodes as in life")
        parser.add_argument("--seed", type=int, default=1, help="of the mix; the same seed, the same orders")
        parser.add_argument(
            "--cancel-share",
            type=float,
            default=0,
            help="of the mix's confirmed orders, so many are cancelled by their customers: 0 to 1; needs --wait",
        )
        parser.add_argument("--wait", type=float, default=0, help="seconds to wait until all are finished")
        parser.add_argument("--json", action="store_true", help="the summary as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["count"] < 1:
            raise CommandError(f"--count is {options['count']}; place at least one order.")
        share = options["cancel_share"]
        if not 0 <= share <= 1:
            raise CommandError(f"--cancel-share is {share}; it is a share of the orders, from 0 to 1.")
        if share and not (options["mix"] and options["wait"]):
            raise CommandError("--cancel-share needs --mix and --wait: only confirmed orders are cancelled.")
        if options["mix"]:
            wanted = of_mix(options["mix"], count=options["count"], seed=options["seed"])
            if share:
                wanted = with_cancellations(wanted, share=share, seed=options["seed"])
        else:
            wanted = of_one_kind(
                **{name: options[name] for name in ("count", "card", "sku", "quantity", "postcode")}
            )
        begun = time.monotonic()
        with self._progress() as progress:
            placing = progress.add_task("placed", total=options["count"])
            try:
                ends = place(wanted, rate=options["rate"], tick=lambda: progress.advance(placing))
            except OrdersError as error:
                raise CommandError(str(error)) from error
            if options["wait"]:
                finishing = progress.add_task("finished", total=len(ends))
                until = time.monotonic() + options["wait"]
                waiting = set(ends)
                while (looked_at := time.monotonic()) < until:
                    waiting -= patiently(partial(ended_among, waiting, ends))
                    progress.update(finishing, completed=len(ends) - len(waiting))
                    if not waiting:
                        break
                    # Asking after thousands of orders costs the database more than a little.
                    time.sleep(max(POLL, 5 * (time.monotonic() - looked_at)))
        summary = sum_up(ends, seconds=time.monotonic() - begun)
        self._print(summary, as_json=options["json"])
        if options["wait"] and (summary.unfinished or summary.otherwise):
            raise CommandError(
                f"{summary.unfinished} orders are unfinished, {len(summary.otherwise)} ended otherwise than they must."
            )

    @staticmethod
    def _progress() -> Progress:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        return Progress(*columns, console=Console(stderr=True))

    def _print(self, summary: Summary, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(msgspec.json.encode(summary).decode())
            return
        for name, value in msgspec.structs.asdict(summary).items():
            self.stdout.write(f"{name.replace('_', ' ')}: {'-' if value is None else value}")
