"""What the first page is made of: tiles, rows, and the addresses that they lead to."""

from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec

from eventstore.admin_columns import Tone


class Links:
    """Addresses of the admin's lists that somebody may look at, by the model's label; empty for all others."""

    def __init__(self, lists: Mapping[str, str]) -> None:
        self._lists = lists

    def to(self, label: str, **asked: object) -> str:
        """The list of `app.model`, of the rows for which all of `asked` holds."""
        address = self._lists.get(label, "")
        return f"{address}?{urlencode(asked)}" if address and asked else address


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One more thing that a tile tells, perhaps with its own page."""

    text: str
    url: str = ""
    tone: Tone = Tone.QUIET


class Tile(msgspec.Struct, frozen=True, kw_only=True):
    """`number` counts what `word` says; `state` puts into words what the tone colours."""

    title: str
    number: str
    word: str
    tone: Tone
    state: str
    url: str = ""
    lines: tuple[Line, ...] = ()


class OutboxRow(msgspec.Struct, frozen=True, kw_only=True):
    """The outbox of one database."""

    database: str
    url: str
    due: str
    oldest: str
    later: str
    refused: str
    tone: Tone
    state: str


class QueueRow(msgspec.Struct, frozen=True, kw_only=True):
    """One service's queue, who consumes it, and the queue of its dead letters."""

    name: str
    url: str
    waiting: str
    uncollected: str
    tone: Tone
    state: str
