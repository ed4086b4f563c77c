"""`manage.py dead_letters`: the desk from a terminal."""

import getpass
import os
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Exists, OuterRef
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deadletters import desk, tallies, telling
from deadletters.errors import DeadLetterError
from deadletters.filtering import LetterFilter
from deadletters.jobs.letter_job_progress import progress
from deadletters.models import DeadLetter, LetterGroup, LetterJob
from deadletters.rehearsals import exporting

_HELP = {
    "replay": "send the messages again to where they died",
    "discard": "decide that the messages are never handled",
    "restore": "open discarded letters again",
}
_DONE = {"replay": "sent again", "discard": "discarded", "restore": "open again"}
_FILTERS = ("state", "service", "type", "group", "order", "message", "since", "until", "q")
_MOST_REASONS = 20
_PACE = 0.5
"""Seconds between two looks at a job that is waited for."""


class Command(BaseCommand):
    help = "Lists, shows and exports dead letters; replays, discards and restores them. Exits 1 where any is refused."

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(
            dest="act", required=True, metavar="{list,groups,show,replay,discard,restore,export}"
        )
        listing = commands.add_parser("list", help="the letters that match, newest first")
        self._add_filters(listing)
        groups = commands.add_parser("groups", help="what the letters have in common, newest first")
        groups.add_argument("--all", action="store_true", help="also groups without an open letter")
        for each in (listing, groups):
            each.add_argument("--limit", type=int, default=50, help="at most so many (default: 50)")
            each.add_argument("--json", action="store_true", help="one JSON object a line")
        show = commands.add_parser("show", help="one letter with all that is known of it")
        show.add_argument("id", help="the letter's id")
        show.add_argument("--json", action="store_true")
        for act, about in _HELP.items():
            self._add_act(commands.add_parser(act, help=about), act)
        export = commands.add_parser("export", help="the letter as a test that fails as it did")
        export.add_argument("id", help="the letter's id")
        export.add_argument("--to", type=Path, metavar="FILE", help="write it there (default: print it)")
        export.add_argument(
            "--with-personal-data", action="store_true", help="leave in what the message says of customers"
        )
        export.add_argument("--json", action="store_true", help="the test, and where it was written, as JSON")

    @staticmethod
    def _add_filters(parser: CommandParser) -> None:
        parser.add_argument("--state", choices=DeadLetter.State.values)
        parser.add_argument("--service", help="the queue where it died")
        parser.add_argument("--type", help="the message's wire type")
        parser.add_argument("--group", "--fingerprint", help="the group's fingerprint, as `groups` tells it")
        parser.add_argument("--order", help="the order's id")
        parser.add_argument("--message", help="the message's id")
        parser.add_argument("--since", help="died then or later: 2026-01-31 or 2026-01-31T17:05, UTC")
        parser.add_argument("--until", help="died before then")
        parser.add_argument(
            "--text", dest="q", help="words of service, type, exception or body; auth* for what begins so"
        )

    def _add_act(self, parser: CommandParser, act: str) -> None:
        parser.add_argument("ids", nargs="*", metavar="id")
        self._add_filters(parser)
        parser.add_argument("--all-matching", action="store_true", help="all that match the filters")
        parser.add_argument("--yes", action="store_true", help="do not ask before --all-matching")
        parser.add_argument("--reason", default="", required=act == "discard", help="why; it is recorded")
        parser.add_argument("--by", default=None, help="who (default: the user of the operating system)")
        parser.add_argument("--json", action="store_true", help="the outcome as JSON")
        parser.add_argument("--no-wait", action="store_true", help="do not wait for a bulk job to end")
        if act == "replay":
            parser.add_argument("--at", help="send them then: 2026-01-31T17:05, UTC")
            parser.add_argument("--rate", type=float, help="letters a second (default: REPLAY_RATE)")

    def handle(self, *args: Any, **options: Any) -> None:
        act = options["act"]
        try:
            if act == "list":
                self._list(options)
            elif act == "groups":
                self._groups(options)
            elif act == "show":
                self._show(options)
            elif act == "export":
                self._export(options)
            else:
                self._act(LetterJob.Kind(act), options)
        except DeadLetterError as error:
            raise CommandError(str(error)) from error
        except BrokenPipeError:  # `| head` has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _list(self, options: dict[str, Any]) -> None:
        letters = _filter_of(options).apply(DeadLetter.objects.defer(*telling.LARGE))
        found = list(letters.order_by("-died_at", "-id")[: _limit(options)])
        for letter in found:
            self._tell(telling.summary(letter) if options["json"] else telling.line(letter))
        if options["json"]:
            return
        if not found:
            self.stderr.write("No dead letter matches.")
        elif len(found) == options["limit"]:
            self.stderr.write(f"Perhaps there are more than these {len(found)}: --limit lists more.")

    def _groups(self, options: dict[str, Any]) -> None:
        groups = LetterGroup.objects.order_by("-last_seen_at")
        if not options["all"]:
            waiting = DeadLetter.objects.filter(group=OuterRef("pk"), state=DeadLetter.State.OPEN)
            groups = groups.filter(Exists(waiting))
        found = list(groups[: _limit(options)])
        figures = tallies.of_groups([group.fingerprint for group in found], now=timezone.now())
        for group in found:
            told = telling.group_summary(group, figures[group.fingerprint])
            self._tell(told if options["json"] else telling.group_line(told))
        if not found and not options["json"]:
            self.stderr.write(
                "No group has an open letter." if not options["all"] else "No letter has ever come."
            )

    def _show(self, options: dict[str, Any]) -> None:
        told = telling.details(_letter(options["id"]))
        if options["json"]:
            self._tell(told)
            return
        for name, value in told.items():
            shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            self._tell(f"{name.replace('_', ' ')}: {shown}")

    def _export(self, options: dict[str, Any]) -> None:
        letter_id, path = _letter(options["id"]).id, options["to"]
        source = exporting.test_case(letter_id, with_personal_data=options["with_personal_data"])
        if path is not None:
            try:
                path.write_text(source)
            except OSError as error:
                raise CommandError(f"The test cannot be written to {path}: {error.strerror}.") from error
        if options["json"]:
            self._tell({"id": letter_id, "written_to": None if path is None else str(path), "source": source})
            return
        if path is None:
            self.stdout.write(source, ending="")
            return
        self.stderr.write(f"Written to {options['to']}; it says itself how to run it.")

    def _act(self, kind: LetterJob.Kind, options: dict[str, Any]) -> None:
        chosen = self._chosen(kind, options)
        by = options["by"] or getpass.getuser()
        acted = desk.act(
            kind,
            chosen,
            # Whoever may run commands here may do all that they do; who it was is recorded.
            operator=desk.Operator(name=by, may=lambda permission: True),
            reason=options["reason"],
            at=timezone.now(),
            begins_at=_moment(options.get("at")),
            rate=options.get("rate"),
        )
        if acted.job_id is not None:
            self._follow(acted.job_id, options)
            return
        assert acted.outcome is not None
        if options["json"]:
            self._tell(telling.outcome(acted.outcome))
        else:
            self._tell(f"{_counted(len(acted.outcome.done))}: {_DONE[kind]}")
            for letter_id, why in list(acted.outcome.refused.items())[:_MOST_REASONS]:
                self.stderr.write(f"{letter_id} stays as it is. {why}")
        if acted.outcome.refused:
            count = len(acted.outcome.refused)
            raise CommandError(f"{count} of {count + len(acted.outcome.done)} dead letters stay as they are.")

    def _chosen(self, kind: LetterJob.Kind, options: dict[str, Any]) -> LetterFilter:
        is_filtered = any(options[name] for name in _FILTERS)
        if options["ids"]:
            if options["all_matching"] or is_filtered:
                raise CommandError("Give ids, or --all-matching with filters; not both.")
            return LetterFilter.from_query({"ids": ",".join(options["ids"])})
        if not options["all_matching"]:
            raise CommandError(f"Which letters? Give their ids, or --all-matching to {kind} all that match.")
        chosen = desk.fitting(kind, _filter_of(options))
        counted = tallies.count(chosen)
        if not counted.number:
            raise CommandError("No dead letter matches.")
        number = f"{counted.number}" if counted.is_exact else f"more than {counted.number}"
        if not options["yes"] and input(f"{kind} {number} dead letters? Type yes: ").strip() != "yes":
            raise CommandError("Nothing was done.")
        return chosen

    def _follow(self, job_id: UUID, options: dict[str, Any]) -> None:
        """Show how the job comes along until it ends or waits for a person. It goes on without this command."""
        job = LetterJob.objects.get(id=job_id)
        is_later = job.begins_at > timezone.now() + timedelta(seconds=1)
        if not options["no_wait"] and not is_later:
            job = self._wait(job)
        told = progress(job)
        if options["json"]:
            self._tell({"job_id": job.id, "state": job.state, **msgspec.structs.asdict(told)})
        else:
            self._tell(f"bulk job {job.id}: {told.sentence}")
        if job.state in (LetterJob.State.STOPPED, LetterJob.State.CANCELLED):
            raise CommandError(f"The bulk job is {job.state}. {job.stopped_because}".strip())
        if told.refused or told.failed:
            raise CommandError(f"{told.refused + told.failed} dead letters stay open.")

    def _wait(self, job: LetterJob) -> LetterJob:
        with _progress() as bars:
            bar = bars.add_task(job.kind, total=None)
            while True:
                told = progress(job)
                bars.update(bar, completed=told.done + told.refused - told.open, total=told.total)
                if job.state != LetterJob.State.RUNNING:
                    return job
                try:
                    time.sleep(_PACE)
                except KeyboardInterrupt:
                    self.stderr.write(f"The bulk job {job.id} goes on; pause or cancel it in the admin.")
                    return job
                job.refresh_from_db()

    def _tell(self, what: str | dict[str, Any]) -> None:
        self.stdout.write(what if isinstance(what, str) else msgspec.json.encode(what).decode())


def _counted(number: int) -> str:
    return f"{number} dead letter{'' if number == 1 else 's'}"


def _filter_of(options: dict[str, Any]) -> LetterFilter:
    return LetterFilter.from_query({name: options[name] or "" for name in _FILTERS})


def _limit(options: dict[str, Any]) -> int:
    if options["limit"] < 1:
        raise CommandError(f"--limit is {options['limit']}; list at least one.")
    return min(int(options["limit"]), 2**31)


def _letter(text: str) -> DeadLetter:
    try:
        letter = DeadLetter.objects.defer("words").filter(id=UUID(text)).first()
    except ValueError:
        raise CommandError(f"{text!r} is no letter's id; `dead_letters list` tells them.") from None
    if letter is None:
        raise CommandError(f"There is no dead letter {text}. `dead_letters list` names those there are.")
    return letter


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    return LetterFilter.from_query({"since": text}).since


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))
