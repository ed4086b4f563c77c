"""Sagas as lines and as JSON, for a terminal."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from rich.table import Table

from sagas import records
from sagas.definition import Saga
from sagas.errors import MissingDefinition
from sagas.models import MessageRecord, SagaRecord
from sagas.registry import definition
from sagas.standing import STEP_WORDS, sentence


def as_dict(saga: SagaRecord) -> dict[str, Any]:
    """What `--json` tells of a saga in a list."""
    return {
        "id": str(saga.id),
        "saga": saga.name,
        "version": saga.version,
        "generation": saga.generation,
        "key": saga.business_key,
        "order": saga.correlation_id,
        "state": saga.status,
        "reason": saga.reason or None,
        "current": saga.current.split(),
        "attempts": saga.sendings,
        "needs_a_person": saga.needs_a_person,
        "is_overdue": saga.is_overdue,
        "is_withheld": saga.is_withheld,
        "paused_at": _time(saga.paused_at),
        "deadline": _time(saga.look_at),
        "started_at": _time(saga.started_at),
        "finished_at": _time(saga.finished_at),
    }


def table_of(sagas: Iterable[SagaRecord], *, now: datetime, title: str = "") -> Table:
    """A row for each saga."""
    table = Table(title=title or None, header_style="bold", expand=False)
    for column in ("id", "saga", "state", "at", "attempts", "age", "deadline", "order"):
        table.add_column(column, overflow="fold")
    for saga in sagas:
        flags = "".join(
            f" ({word})"
            for word, is_so in (
                ("person", saga.needs_a_person),
                ("overdue", saga.is_overdue),
                ("held back", saga.is_withheld),
                ("paused", saga.paused_at is not None and saga.finished_at is None),
            )
            if is_so
        )
        table.add_row(
            str(saga.id),
            f"{saga.name} v{saga.version}",
            f"{saga.status}{flags}",
            saga.current or "–",
            str(saga.sendings or "–"),
            _span(saga.started_at, saga.finished_at or now),
            "–" if saga.look_at is None else f"in {_span(now, saga.look_at)}",
            saga.correlation_id,
        )
    return table


def story_of(saga: SagaRecord, *, now: datetime) -> dict[str, Any]:
    """What `show --json` tells; bodies are left out, for they say who the customer is."""
    state = records.look([saga.id], now=now).sagas[saga.id].state
    try:
        standing = sentence(definition(saga.name, saga.version), state, now)
    except MissingDefinition as error:
        standing = str(error)
    return {
        **as_dict(saga),
        "standing": standing,
        "forked_from": str(saga.forked_from_id) if saga.forked_from_id else None,
        "steps": [
            {
                "name": step.name,
                "state": step.status.value,
                "attempts": step.sendings,
                "sent_at": _time(step.sent_at),
                "deadline": _time(step.deadline_at),
                "finished_at": _time(step.finished_at),
                "failure": step.failure or None,
                "letter": str(step.letter_id) if step.letter_id else None,
            }
            for step in state.steps
        ],
        "messages": [
            {
                "direction": message.direction,
                "type": message.type,
                "step": message.step or None,
                "message_id": str(message.message_id),
                "at": _time(message.noted_at or message.at),
            }
            for message in MessageRecord.objects.filter(saga=saga).order_by("id").defer("body")
        ],
    }


def lines_of(story: dict[str, Any]) -> Iterable[str]:
    """The same for people."""
    yield f"{story['saga']} {story['key']} (saga {story['id']}, version {story['version']})"
    yield f"{story['state']}: {story['standing']}"
    yield "steps:"
    for step in story["steps"]:
        words = STEP_WORDS[step["state"]]
        more = "".join(
            f", {word} {step[name]}"
            for name, word in (("attempts", "attempts"), ("failure", "because of"), ("letter", "letter"))
            if step[name]
        )
        yield f"  {step['name']}: {words}{more}"
    yield "messages:"
    for message in story["messages"]:
        yield f"  {message['at']} {message['direction']:<8} {message['type']} {message['step'] or ''}".rstrip()


def with_shapes(text: str, sagas: Iterable[Saga]) -> str:
    """The text of sagas/shapes.py with these added at the end of its list; nothing else of it changes."""
    lines = []
    for saga in sagas:
        lines.append(f'    ("{saga.name}", {saga.version}): {{\n')
        for step, properties in saga.outline.items():
            lines.append(f'        "{step}": {{\n')
            lines += [f'            "{name}": "{value}",\n' for name, value in properties.items()]
            lines.append("        },\n")
        lines.append("    },\n")
    end = text.rindex("}")
    return text[:end] + "".join(lines) + text[end:]


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _span(begin: datetime, end: datetime) -> str:
    seconds = max(0, round((end - begin).total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
