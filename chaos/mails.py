"""The e-mails that went out, read from the folder that stands in for the mail server."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_MESSAGE_ID = re.compile(r"^Message-ID: *<([^>]+)>", re.MULTILINE)
_SUBJECT = re.compile(r"^Subject: Your order is (\w+)", re.MULTILINE)
_ORDER = re.compile(r"your order ([0-9a-f-]{36})")
_BETWEEN = "-" * 79
"""Django's line after each message in a file."""


@dataclass(frozen=True)
class Mail:
    message_id: str
    order_id: str
    says: str
    """`confirmed` or `cancelled`."""


def read(folder: Path) -> Iterator[Mail]:
    """Every whole e-mail. What a killed process left half written is none: it is sent again, as another file."""
    for file in sorted(folder.glob("*.log")):
        yield from parse(file.read_text(errors="replace").split(_BETWEEN))


def parse(texts: Iterable[str]) -> Iterator[Mail]:
    for text in texts:
        unfolded = re.sub(r"\n[ \t]+", " ", text.replace("\r\n", "\n").replace("=\n", ""))
        message_id, subject = _MESSAGE_ID.search(unfolded), _SUBJECT.search(unfolded)
        order = _ORDER.search(unfolded.replace("\n", " "))
        if message_id and subject and order:
            yield Mail(message_id[1].strip(), order[1], subject[1])
