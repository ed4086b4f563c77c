"""The report of a run, as JSON and as a page to read."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from chaos import chart
from chaos.nemesis import Done
from chaos.plan import OUTAGES, Kind
from chaos.verdict import Letter

_LETTERS = {"rabbitmq": "R", "postgres": "P"}


@dataclass(frozen=True, kw_only=True)
class Report:
    """`retries` counts failed attempts by service, `failures` names the most frequent of them."""

    seed: int
    orders: int
    rate: float
    copies_share: float
    fury: float
    versions: Mapping[str, str]
    began: datetime
    seconds: float
    placing: Mapping[str, Any] | None
    actions: Sequence[Done]
    copies: Mapping[str, int]
    held_back: int
    redelivered: int
    retries: Mapping[str, int]
    failures: Sequence[tuple[str, str, str, int]]
    letters: Sequence[Letter]
    letters_ever: Sequence[tuple[str, str, int]]
    automatic_replays: Mapping[str, int]
    repeated_mails: int
    restarts: Mapping[str, int]
    samples: Sequence[tuple[float, int]]
    violations: Sequence[str]

    @property
    def verdict(self) -> str:
        if not self.violations:
            return "nothing lost, nothing twice, nothing stuck"
        return f"{len(self.violations)} violations"

    @property
    def by_kind(self) -> dict[str, int]:
        return dict(Counter(done.action.kind.value for done in self.actions))


def write(report: Report, folder: Path) -> Path:
    """Writes report.json and report.md, and returns the path of the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    document = asdict(report) | {"verdict": report.verdict, "actions_by_kind": report.by_kind}
    (folder / "report.json").write_text(
        json.dumps(document, indent=2, default=str, ensure_ascii=False) + "\n"
    )
    page = folder / "report.md"
    page.write_text(as_page(report))
    return page


def summary(report: Report) -> list[str]:
    """The report in a few lines."""
    killed = [done for done in report.actions if done.result.startswith("pid")]
    return [
        f"{report.orders} orders in {report.seconds:.0f} s, seed {report.seed}: {report.verdict}",
        f"{len(report.actions)} actions ({len(killed)} processes or children killed or frozen), "
        f"{sum(report.copies.values())} copies sent, {report.held_back} messages held back",
        f"{report.redelivered} deliveries repeated by the broker, {sum(report.retries.values())} failed attempts, "
        f"{sum(count for _, _, count in report.letters_ever)} dead letters, "
        f"{report.repeated_mails} e-mails repeated under their Message-ID",
        *(f"violation: {sentence}" for sentence in report.violations),
    ]


def as_page(report: Report) -> str:
    """The report in Markdown."""
    return "\n".join([*_head(report), *_pace(report), *_what_was_done(report), *_what_came_of_it(report), ""])


def _head(report: Report) -> list[str]:
    placing = report.placing or {}
    return [
        f"# {report.orders} orders and the nemesis: {report.verdict}",
        "",
        *(f"- {sentence}" for sentence in report.violations),
        *([""] if report.violations else []),
        "| | |",
        "|---|---|",
        f"| begun | {report.began:%Y-%m-%d %H:%M:%S} UTC |",
        f'| repeat it | `make chaos ARGS="--orders {report.orders} --seed {report.seed} --rate {report.rate:g} '
        f'--copies {report.copies_share:g} --fury {report.fury:g}"` |',
        f"| versions | {', '.join(f'{name} {version}' for name, version in report.versions.items())} |",
        f"| duration | {report.seconds:.0f} s |",
        f"| confirmed, cancelled | {placing.get('confirmed', '?')}, {placing.get('cancelled', '?')} "
        f"(had to be {placing.get('expected_confirmed', '?')}, {placing.get('expected_cancelled', '?')}) |",
        f"| from placed to finished, p50, p95, p99 | {placing.get('p50', '?')} s, {placing.get('p95', '?')} s, "
        f"{placing.get('p99', '?')} s |",
        f"| copies of messages sent | {', '.join(f'{number} {how}' for how, number in report.copies.items())} |",
        f"| messages held back and given back in reverse order | {report.held_back} |",
        f"| deliveries repeated by the broker | {report.redelivered} |",
        f"| e-mails repeated under the same Message-ID | {report.repeated_mails} |",
        "",
    ]


def _pace(report: Report) -> list[str]:
    values = chart.pace(report.samples)
    events = [
        ((done.at - report.began).total_seconds(), _letter(done))
        for done in report.actions
        if done.action.kind in OUTAGES
    ]
    return [
        "## Orders finished a second",
        "",
        "```",
        chart.bars(values),
        chart.marks(events, seconds=report.seconds),
        "```",
        "",
        f"The tallest bar is {max(values, default=0):.0f} a second. R: the broker away, P: the database server away, "
        "A: the broker's memory alarm.",
        "",
    ]


def _letter(done: Done) -> str:
    return "A" if done.action.kind is Kind.ALARM else _LETTERS[done.action.target]


def _what_was_done(report: Report) -> list[str]:
    idle = sum(done.finished_orders >= report.orders for done in report.actions)
    rows = [
        f"| {done.at:%H:%M:%S} | {done.finished_orders} | {done.action} | {done.result} | {done.seconds:.1f} |"
        for done in report.actions
    ]
    return [
        "## What was done",
        "",
        "| kind | times |",
        "|---|---|",
        *(f"| {kind} | {count} |" for kind, count in sorted(report.by_kind.items())),
        "",
        f"{idle} of the {len(report.actions)} actions came when all orders were finished already.",
        "",
        "| at | orders finished | action | | seconds |",
        "|---|---|---|---|---|",
        *rows,
        "",
    ]


def _what_came_of_it(report: Report) -> list[str]:
    return [
        "## What came of it",
        "",
        f"Processes started again: {_counted(report.restarts)}.",
        "",
        f"Failed attempts: {_counted(report.retries)}.",
        "",
        *(f"- {count} × {consumer}, `{kind}`: {what}" for consumer, kind, what, count in report.failures),
        *([""] if report.failures else []),
        "Dead letters: "
        + (", ".join(f"{count} {reason} ({state})" for reason, state, count in report.letters_ever) or "none")
        + ".",
        "",
        *(
            f"- {letter.queue}, {letter.state}: {letter.type}, {letter.reason} {letter.cause}"
            for letter in report.letters
        ),
        *([""] if report.letters else []),
        f"Automatic replays: {_counted(report.automatic_replays)}.",
    ]


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()) if count) or "none"
