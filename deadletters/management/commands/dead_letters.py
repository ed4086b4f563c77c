"""`manage.py dead_letters`: look at dead letters, replay, discard and restore them."""

import getpass
from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deadletters import services
from deadletters.errors import DeadLetterError
from deadletters.models import DeadLetter

_ACTS: dict[str, tuple[Callable[..., services.Outcome], str, DeadLetter.State]] = {
    "replay": (services.replay, "sent again", DeadLetter.State.OPEN),
    "discard": (services.discard, "discarded", DeadLetter.State.OPEN),
    "restore": (services.restore, "open again", DeadLetter.State.DISCARDED),
}
_MOST_REASONS = 20


class Command(BaseCommand):
    help = "Lists and shows dead letters, and replays, discards or restores them. Exits 1 where a letter is refused."

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(
            dest="act", required=True, metavar="{list,show,replay,discard,restore}"
        )
        listing = commands.add_parser("list", help="the letters that match, newest first")
        self._add_filters(listing)
        listing.add_argument("--limit", type=int, default=50, help="at most so many (default: 50)")
        listing.add_argument("--json", action="store_true", help="one JSON object a line")
        show = commands.add_parser("show", help="one letter with all that is known of it")
        show.add_argument("id", help="the letter's id")
        show.add_argument("--json", action="store_true")
        for act in _ACTS:
            self._add_act(commands.add_parser(act, help=(_ACTS[act][0].__doc__ or "").split("\n")[0]), act)

    @staticmethod
    def _add_filters(parser: CommandParser) -> None:
        parser.add_argument("--service", help="the queue where it died")
        parser.add_argument("--type", help="the message's wire type")
        parser.add_argument("--state", choices=DeadLetter.State.values)
        parser.add_argument("--fingerprint", help="the group's, as `list` and `show` tell it")

    def _add_act(self, parser: CommandParser, act: str) -> None:
        parser.add_argument("ids", nargs="*", metavar="id")
        self._add_filters(parser)
        parser.add_argument("--all-matching", action="store_true", help="all that match the filters")
        parser.add_argument("--yes", action="store_true", help="do not ask before --all-matching")
        parser.add_argument("--reason", default="", required=act == "discard", help="why; it is recorded")
        parser.add_argument("--by", default=None, help="who (default: the user of the operating system)")
        parser.add_argument("--json", action="store_true", help="the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        act = options["act"]
        if act == "list":
            self._list(options)
        elif act == "show":
            self._show(options)
        else:
            self._act(act, options)

    def _list(self, options: dict[str, Any]) -> None:
        if options["limit"] < 1:
            raise CommandError(f"--limit is {options['limit']}; list at least one letter.")
        letters = _matching(options).defer("body", "headers", "properties", "traceback")
        for letter in letters.order_by("-died_at", "-id")[: options["limit"]]:
            if options["json"]:
                self.stdout.write(msgspec.json.encode(_summary(letter)).decode())
            else:
                problem = letter.exception or letter.reason or "no reason given"
                self.stdout.write(
                    f"{letter.id}  {letter.died_at:%Y-%m-%d %H:%M:%S}  {letter.state:<10}  {letter.service:<13}  "
                    f"{letter.type or '-'}  {problem[:100]}"
                )

    def _show(self, options: dict[str, Any]) -> None:
        letter = DeadLetter.objects.filter(id=_uuid(options["id"])).first()
        if letter is None:
            raise CommandError(
                f"There is no dead letter {options['id']}. `dead_letters list` names those there are."
            )
        told = _details(letter)
        if options["json"]:
            self.stdout.write(msgspec.json.encode(told).decode())
            return
        for name, value in told.items():
            shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            self.stdout.write(f"{name.replace('_', ' ')}: {shown}")

    def _act(self, name: str, options: dict[str, Any]) -> None:
        act, done, state = _ACTS[name]
        ids = self._chosen(options, name=name, state=state)
        with _progress() as progress:
            task = progress.add_task(name, total=len(ids))
            try:
                outcome = act(
                    ids,
                    by=options["by"] or getpass.getuser(),
                    reason=options["reason"],
                    at=timezone.now(),
                    progress=lambda count: progress.advance(task, count),
                )
            except DeadLetterError as error:
                raise CommandError(str(error)) from error
        if options["json"]:
            told = {
                "done": list(map(str, outcome.done)),
                "refused": {str(letter): why for letter, why in outcome.refused.items()},
            }
            self.stdout.write(msgspec.json.encode(told).decode())
        else:
            self.stdout.write(f"{len(outcome.done)} dead letters: {done}")
            for letter_id, why in list(outcome.refused.items())[:_MOST_REASONS]:
                self.stderr.write(f"{letter_id} stays as it is. {why}")
        if outcome.refused:
            raise CommandError(f"{len(outcome.refused)} of {len(ids)} dead letters stay as they are.")

    def _chosen(self, options: dict[str, Any], *, name: str, state: DeadLetter.State) -> list[UUID]:
        is_filtered = any(options[filter_] for filter_ in ("service", "type", "state", "fingerprint"))
        if options["ids"]:
            if options["all_matching"] or is_filtered:
                raise CommandError("Give ids, or --all-matching with filters; not both.")
            return list(dict.fromkeys(_uuid(text) for text in options["ids"]))
        if not options["all_matching"]:
            raise CommandError(f"Which letters? Give their ids, or --all-matching to {name} all that match.")
        letters = _matching({**options, "state": options["state"] or state})
        ids = list(letters.order_by("id").values_list("id", flat=True))
        if not ids:
            raise CommandError("No dead letter matches.")
        if not options["yes"] and input(f"{name} {len(ids)} dead letters? Type yes: ").strip() != "yes":
            raise CommandError("Nothing was done.")
        return ids


def _matching(options: dict[str, Any]) -> QuerySet[DeadLetter]:
    fields = {"service": "service", "type": "type", "state": "state", "fingerprint": "group_id"}
    asked = {field: options[name] for name, field in fields.items() if options[name]}
    return DeadLetter.objects.filter(**asked)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise CommandError(f"{text!r} is no letter's id; `dead_letters list` tells them.") from None


def _summary(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "state": letter.state,
        "service": letter.service,
        "type": letter.type,
        "message_id": letter.message_id,
        "correlation_id": letter.correlation_id,
        "attempt": letter.attempt,
        "reason": letter.reason,
        "exception": letter.exception,
        "fingerprint": letter.group_id,
        "died_at": letter.died_at,
    }


def _details(letter: DeadLetter) -> dict[str, Any]:
    return {
        **_summary(letter),
        "saga_id": letter.saga_id,
        "step": letter.step,
        "replay_id": letter.replay_id,
        "follows": letter.follows_id,
        "is_failure_known": letter.is_failure_known,
        "collected_at": letter.collected_at,
        "closed_at": letter.closed_at,
        "replays": list(
            letter.replays.order_by("requested_at").values("id", "outcome", "requested_by", "reason")
        ),
        "actions": list(letter.actions.order_by("id").values("kind", "by", "at", "reason")),
        "traceback": letter.traceback,
        "deaths": letter.deaths,
        "properties": letter.properties,
        "headers": letter.headers,
        "body": bytes(letter.body).decode(errors="backslashreplace"),
    }


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))
