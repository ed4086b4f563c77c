"""How the admin shows states, times, money and JSON: one look on every page."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from contracts.values import Money
from eventstore.relative_times import relative

Column = Any
"""What `list_display` and `fields` take, from a row to what is shown of it. Django's stubs know callables only in
the former, so it is not typed as one."""


class Tone(StrEnum):
    """The colour of a state; the word beside it says the same."""

    GOOD = "good"
    BAD = "bad"
    WAITING = "waiting"
    UNDONE = "undone"
    QUIET = "quiet"


def badge(text: str, tone: Tone) -> str:
    """The word, coloured."""
    return format_html('<span class="badge badge-{}">{}</span>', tone.value, text)


def moment(at: datetime | None, *, is_precise: bool = False, now: datetime | None = None) -> str:
    """How long ago, or in how long; the exact time in UTC is what the mouse shows, and stands there itself once it is
    a month away. Where it `is_precise` it is exact to the millisecond. A dash where there is no time.
    """
    if at is None:
        return "–"
    utc = timezone.localtime(at, timezone.get_default_timezone())
    naive = utc.replace(tzinfo=None)
    if is_precise:
        exact = naive.isoformat(sep=" ", timespec="milliseconds")
        return format_html('<time datetime="{}" title="UTC">{}</time>', utc.isoformat(), exact)
    exact = naive.isoformat(sep=" ", timespec="seconds")
    shown = relative(at, now=now or timezone.now()) or exact
    return format_html('<time datetime="{}" title="{} UTC">{}</time>', utc.isoformat(), exact, shown)


def duration(begin: datetime | None, end: datetime | None) -> str:
    """`340 ms`, `2.5 s` or `3 min 20 s`; a dash as long as one of the times is missing."""
    if begin is None or end is None:
        return "–"
    seconds = (end - begin).total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def money(amount: int, currency: str) -> str:
    """`12.50 EUR` from minor units; a dash where no currency is known."""
    return str(Money(amount, currency)) if currency else "–"


def json_block(value: Any) -> str:
    """JSON, indented, its keys in the order in which they are stored; a dash for nothing."""
    if value is None:
        return "–"
    return format_html('<pre class="json">{}</pre>', json.dumps(value, indent=2, ensure_ascii=False))


def page_of(model: str, text: str, **asked: object) -> str:
    """A link to the rows of `app_model` for which all of `asked` holds.

    Pages of other services are reached by address alone; see `HistoryAdmin.identifiers` for what happens there.
    """
    return format_html('<a href="{}?{}">{}</a>', reverse(f"admin:{model}_changelist"), urlencode(asked), text)


def may_open(user: Any, model: str) -> bool:
    """Whether this person may see the rows of `app_model`: a link that leads to a refusal helps nobody."""
    application, _, name = model.rpartition("_")
    return bool(user.has_perm(f"{application}.view_{name}"))


def page_for(user: Any, model: str, text: str, **asked: object) -> str:
    """`page_of` for whoever may open that page, else its text alone."""
    return page_of(model, text, **asked) if may_open(user, model) else text


def state_column(field: str, tones: Mapping[Any, Tone]) -> Column:
    """The field's value in its words, coloured by `tones`."""

    def column(row: Any) -> str:
        value = getattr(row, field)
        return badge(getattr(row, f"get_{field}_display")(), tones.get(value, Tone.QUIET))

    return _named(column, field, field)


def time_column(field: str, *, is_precise: bool = False) -> Column:
    """The field's time: how long ago, or exactly where rows are told apart by it."""

    def column(row: Any) -> str:
        return moment(getattr(row, field), is_precise=is_precise)

    return _named(column, field, field.removesuffix("_at").replace("_", " "))


def json_column(field: str) -> Column:
    """The field's JSON, indented."""

    def column(row: Any) -> str:
        return json_block(getattr(row, field))

    return _named(column, field, field, is_sortable=False)


def money_column(field: str, title: str) -> Column:
    """The field's minor units with the row's currency."""

    def column(row: Any) -> str:
        return money(getattr(row, field), row.currency)

    return _named(column, field, title)


def _named(column: Callable[[Any], str], field: str, title: str, *, is_sortable: bool = True) -> Column:
    column.__name__ = f"{field}_shown"  # the admin derives the cell's CSS class from it
    return admin.display(description=title, ordering=field if is_sortable else None)(column)
