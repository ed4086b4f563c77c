"""`manage.py sagas`: the desk from a terminal."""

import getpass
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q, QuerySet
from django.utils import timezone
from rich.console import Console
from rich.live import Live

from deadletters.desk import Operator
from sagas import shapes, steering, switching, upgrading
from sagas.admin.filters import ATTENTION
from sagas.errors import SagaError
from sagas.incoming import Action, CancelSaga, MarkUndone, PauseSaga, ResumeSaga, RetryStep, SkipStep
from sagas.models import PauseSwitch, SagaRecord
from sagas.registry import DEFINITIONS
from sagas.state import SagaStatus
from sagas.switches import SwitchKind
from sagas.terminal import telling

_ACTS: dict[str, tuple[str, Callable[[], Action]]] = {
    "pause": ("send nothing more until it is resumed", PauseSaga),
    "resume": ("let it go on", ResumeSaga),
    "cancel": ("have everything undone", CancelSaga),
}
_STEP_ACTS: dict[str, tuple[str, Callable[[str], Action]]] = {
    "retry": ("send the step's command again now, under the key that it had", RetryStep),
    "skip": ("count the step as done", SkipStep),
    "mark-undone": ("count the step as undone: somebody did it by hand", MarkUndone),
}
_LOOK_EVERY = 1.0
"""Seconds between two looks of `watch`."""


class Command(BaseCommand):
    help = "Lists, shows and watches sagas; pauses, resumes, retries, cancels them, runs them again; checks an upgrade."
    requires_system_checks = ()
    """`shapes --write` and `check-upgrade` are what mends that which the checks find."""

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="act", required=True)
        for name, about in (("list", "the sagas that match, newest first"), ("watch", "the same, live")):
            listing = commands.add_parser(name, help=about)
            listing.add_argument("--state", choices=[status.value for status in SagaStatus])
            listing.add_argument("--saga", choices=sorted({saga for saga, _ in DEFINITIONS}))
            listing.add_argument("--step", help="at this step now")
            listing.add_argument("--attention", choices=list(ATTENTION), help="what somebody has to look at")
            listing.add_argument("--order", help="the order's id")
            listing.add_argument("--limit", type=int, default=20, help="at most so many (default: 20)")
            listing.add_argument("--json", action="store_true", help="one JSON object a line")
            if name == "watch":
                listing.add_argument("--seconds", type=float, help="stop after so long (default: Ctrl-C)")
        show = commands.add_parser("show", help="one saga with its steps and messages")
        show.add_argument("id", help="its id, or that of what it is about, such as the order's")
        show.add_argument("--json", action="store_true")
        for name, (about, _) in _ACTS.items():
            acting = commands.add_parser(name, help=about)
            acting.add_argument("ids", nargs="+", metavar="id")
            self._add_reason(acting)
        for name, (about, _) in _STEP_ACTS.items():
            acting = commands.add_parser(name, help=about)
            acting.add_argument("ids", nargs=1, metavar="id")
            acting.add_argument("step")
            acting.add_argument("--evidence", default="", help="how it can be checked (mark-undone)")
            self._add_reason(acting)
        fork = commands.add_parser("fork", help="run it again from a step, on the newest version")
        fork.add_argument("ids", nargs=1, metavar="id")
        fork.add_argument("step")
        self._add_reason(fork)
        switches = commands.add_parser("switches", help="what is held back now")
        switches.add_argument("--json", action="store_true")
        hold = commands.add_parser("hold", help="set a pause switch")
        hold.add_argument("kind", choices=[kind.value for kind in SwitchKind])
        hold.add_argument("name", help="such as checkout.ship, billing, billing.void_payment.v1")
        self._add_reason(hold)
        lift = commands.add_parser("lift", help="lift a pause switch")
        lift.add_argument("name")
        self._add_reason(lift)
        listed = commands.add_parser("shapes", help="the shapes of the definitions")
        listed.add_argument("--write", action="store_true", help="add those that are not listed yet")
        upgrade = commands.add_parser("check-upgrade", help="would this release carry on the running sagas?")
        upgrade.add_argument("--json", action="store_true")

    @staticmethod
    def _add_reason(parser: CommandParser) -> None:
        parser.add_argument("--reason", default="", help="why, for the operators' log")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, act: str, **given: Any) -> None:
        do = {
            **dict.fromkeys(_ACTS, self._steer),
            **dict.fromkeys(_STEP_ACTS, self._steer),
            "list": self._list,
            "watch": self._watch,
            "show": self._show,
            "fork": self._fork,
            "switches": self._switches,
            "hold": self._hold,
            "lift": self._lift,
            "shapes": self._shapes,
            "check-upgrade": self._check_upgrade,
        }[act]
        try:
            do(act=act, **given)
        except SagaError as error:
            raise CommandError(str(error)) from error

    # --- looking -------------------------------------------------------------------------------------------

    def _chosen(self, **given: Any) -> QuerySet[SagaRecord]:
        found = SagaRecord.objects.defer("data").order_by("-started_at")
        if given["state"]:
            found = found.filter(status=given["state"])
        if given["saga"]:
            found = found.filter(name=given["saga"])
        if given["step"]:
            found = found.filter(finished_at__isnull=True, current__contains=given["step"])
        if given["attention"]:
            found = found.filter(ATTENTION[given["attention"]][1])
        if given["order"]:
            found = found.filter(correlation_id=given["order"])
        return found[: given["limit"]]

    def _list(self, **given: Any) -> None:
        sagas = list(self._chosen(**given))
        if given["json"]:
            for saga in sagas:
                self._say(telling.as_dict(saga))
        elif sagas:
            self._console().print(telling.table_of(sagas, now=timezone.now()))
        else:
            self.stdout.write("No saga matches.")

    def _watch(self, **given: Any) -> None:
        """A live table on a terminal; with `--json` each saga whenever something about it has changed."""
        until = time.monotonic() + given["seconds"] if given["seconds"] else None
        seen: dict[str, dict[str, Any]] = {}
        title = "Sagas (Ctrl-C ends this)"
        try:
            with Live(console=self._console(), auto_refresh=False, transient=False) as live:
                while True:
                    sagas = list(self._chosen(**given))
                    if given["json"]:
                        for told in map(telling.as_dict, sagas):
                            if seen.get(told["id"]) != told:
                                seen[told["id"]] = told
                                self._say(told)
                    else:
                        live.update(telling.table_of(sagas, now=timezone.now(), title=title), refresh=True)
                    if until is not None and time.monotonic() >= until:
                        break
                    time.sleep(_LOOK_EVERY)
        except KeyboardInterrupt:
            return
        if not given["json"] and not sys.stdout.isatty():
            self.stdout.write("")  # a table that is not live ends without a new line

    def _show(self, **given: Any) -> None:
        wanted = _uuid(given["id"])
        named = SagaRecord.objects.filter(Q(id=wanted) | Q(business_key=str(wanted)))
        saga = named.order_by("-started_at").first()
        if saga is None:
            raise CommandError(f"There is no saga {given['id']}.")
        story = telling.story_of(saga, now=timezone.now())
        if given["json"]:
            self._say(story)
        else:
            self.stdout.write("\n".join(telling.lines_of(story)))

    # --- acting --------------------------------------------------------------------------------------------

    def _steer(self, *, act: str, ids: list[str], **given: Any) -> None:
        action: Action = _STEP_ACTS[act][1](given["step"]) if act in _STEP_ACTS else _ACTS[act][1]()
        outcome = steering.steer(
            action,
            [_uuid(saga_id) for saga_id in ids],
            operator=_operator(),
            at=timezone.now(),
            reason=given["reason"],
            evidence=given.get("evidence", ""),
        )
        for saga_id, sendings in outcome.done.items():
            sent = [sending.command.wire_type for sending in sendings]
            if given["json"]:
                self._say({"id": str(saga_id), "done": act, "sent": sent})
            else:
                self.stdout.write(f"{saga_id}: {act}; sent {', '.join(sent) or 'nothing'}")
        for saga_id, why in outcome.refused.items():
            if given["json"]:
                self._say({"id": str(saga_id), "refused": why})
            else:
                self.stderr.write(f"{saga_id}: {why}")
        if outcome.refused:
            sys.exit(1)

    def _fork(self, *, ids: list[str], **given: Any) -> None:
        fork_id, sendings = steering.run_again(
            _uuid(ids[0]),
            given["step"],
            operator=_operator(),
            at=timezone.now(),
            reason=given["reason"],
        )
        sent = [sending.command.wire_type for sending in sendings]
        if given["json"]:
            self._say({"id": ids[0], "fork": str(fork_id), "sent": sent})
        else:
            self.stdout.write(f"{ids[0]} runs again as {fork_id}; sent {', '.join(sent) or 'nothing'}")

    def _switches(self, **given: Any) -> None:
        found = switching.switches_set()
        for switch in found:
            told = {
                "kind": switch.kind,
                "name": switch.name,
                "set_by": switch.set_by,
                "reason": switch.reason,
            }
            if given["json"]:
                self._say(told)
            else:
                self.stdout.write(f"{switch.kind} {switch.name}: {switch.reason} ({switch.set_by})")
        if not found and not given["json"]:
            self.stdout.write("No switch is set: everything is handed out.")

    def _hold(self, **given: Any) -> None:
        switch = switching.set_switch(
            SwitchKind(given["kind"]),
            given["name"],
            operator=_operator(),
            reason=given["reason"],
            at=timezone.now(),
        )
        self.stdout.write(f"The {switch} is held back from now on.")

    def _lift(self, **given: Any) -> None:
        switch = PauseSwitch.objects.filter(name=given["name"], lifted_at__isnull=True).first()
        if switch is None:
            raise CommandError(
                f"No switch is set for {given['name']}. `sagas switches` lists those that are."
            )
        going_on = switching.lift_switch(
            switch.id, operator=_operator(), at=timezone.now(), reason=given["reason"]
        )
        self.stdout.write(f"The {switch} is handed out again; {going_on} sagas go on.")

    # --- versions ------------------------------------------------------------------------------------------

    def _shapes(self, **given: Any) -> None:
        new = [saga for key, saga in sorted(DEFINITIONS.items()) if key not in shapes.SHAPES]
        for key, saga in sorted(DEFINITIONS.items()):
            known = shapes.SHAPES.get(key)
            state = "not listed" if known is None else "as released" if known == saga.outline else "CHANGED"
            self.stdout.write(f"{saga.name} v{saga.version}: {saga.shape} ({state})")
        if given["write"] and new:
            path = Path(shapes.__file__)
            path.write_text(telling.with_shapes(path.read_text(), new))
            self.stdout.write(f"{len(new)} added to {path.name}.")

    def _check_upgrade(self, **given: Any) -> None:
        checked, problems = upgrading.Checked(), 0
        for finding in upgrading.check(checked):
            problems += 1
            if given["json"]:
                self._say(msgspec.to_builtins(finding))
            else:
                self.stdout.write(f"{finding.name} v{finding.version} {finding.saga_id}: {finding.problem}")
        summary = (
            f"{checked.sagas} running sagas looked at, {checked.decided_again} decided again from their history: "
            f"{problems or 'no'} difference{'s' if problems != 1 else ''}."
        )
        self.stderr.write(summary) if given["json"] else self.stdout.write(summary)
        if problems:
            sys.exit(1)

    # --- saying --------------------------------------------------------------------------------------------

    def _say(self, told: Any) -> None:
        self.stdout.write(msgspec.json.encode(told).decode())

    def _console(self) -> Console:
        return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200)


def _operator() -> Operator:
    """Whoever has a shell here may do anything; his name is in the log."""
    return Operator(name=f"{os.environ.get('SUDO_USER') or getpass.getuser()} (terminal)", may=lambda _: True)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise CommandError(f"{text!r} is not the id of a saga. `sagas list` tells ids.") from error
