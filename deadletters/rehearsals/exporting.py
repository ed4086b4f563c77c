"""A dead letter as a test of pytest that fails as the letter did."""

import json
import re
import textwrap
from typing import Any
from uuid import UUID

import msgspec

from deadletters.collecting.reading import message_in
from deadletters.errors import Unreplayable
from deadletters.models import DeadLetter
from eventstore.admin_privacy import masked

_WIDTH = 110
_LONGEST_LINE = 120
"""Lines of code that are longer have to say that they may be."""

_MODULE = '''"""{about}
"""

import json

import pytest

from deadletters.rehearsals.dry_runs import handle

pytestmark = pytest.mark.usefixtures("committed")

SERVICE = "{service}"
HEADERS = r"""
{headers}
"""{headers_noqa}
BODY = r"""
{body}
"""{body_noqa}


def {name}():
    handled = handle(SERVICE, json.loads(HEADERS), BODY.encode())

    assert handled.end in ("done", "asks"), handled.why
'''

_HOW = (
    "The handler that is installed then is run on the message as its worker would run it, in a transaction that is "
    "rolled back; a gateway's answer is assumed. So the test fails as long as the handler fails, and passes once it is "
    "mended."
)
_ROWS = (
    "The databases are the tests' own: they hold the demonstration's catalogue and stock, and no order. Rows that the "
    "handler met when it failed are not here. Where the failure depends on them, or the handler needs them, make them "
    "first, at the top of the test."
)
_DISGUISED = (
    "What the message says of a customer is disguised, letters as x and digits as 0, and so are payment tokens. Where "
    "the failure depends on them, export the letter with personal data."
)


def test_case(letter_id: UUID, *, with_personal_data: bool = False) -> str:
    """The source of a test module; it runs the installed handler on the letter's message.

    Raises `DeadLetter.DoesNotExist`, and `Unreplayable` where the letter holds no message that any handler could get:
    there is nothing to run then.
    """
    letter = DeadLetter.objects.select_related("group").get(id=letter_id)
    try:
        envelope, payload = message_in(letter.headers, bytes(letter.body))
    except Unreplayable as error:
        raise Unreplayable(f"There is nothing to run as a test. {error}") from error
    shown = payload if with_personal_data else disguised(payload)
    name = f"test_letter_{letter.id.hex}"
    headers, body = _json(msgspec.to_builtins(envelope)), _json([[shown], {}, {}])
    return _MODULE.format(
        about=_about(letter, name, is_disguised=shown != payload),
        service=letter.service,
        headers=headers,
        headers_noqa=_noqa(headers),
        body=body,
        body_noqa=_noqa(body),
        name=name,
    )


def disguised(value: Any) -> Any:
    """Decoded JSON with what is personal replaced by something of the same form, so that a schema still fits."""
    return _disguised(value, masked(value))


def _disguised(value: Any, hidden: Any) -> Any:
    if isinstance(value, dict):
        return {name: _disguised(inner, hidden[name]) for name, inner in value.items()}
    if isinstance(value, list):
        return [_disguised(inner, other) for inner, other in zip(value, hidden, strict=True)]
    return value if value == hidden else _of_the_same_form(value)


def _of_the_same_form(value: Any) -> Any:
    if isinstance(value, str):
        return "".join(
            "0" if letter.isdigit() else "X" if letter.isupper() else "x" if letter.isalpha() else letter
            for letter in value
        )
    return value if value is None else type(value)()


def _about(letter: DeadLetter, name: str, *, is_disguised: bool) -> str:
    path = f"tests/integration/{name}.py"
    group = letter.group
    failed = f"{group.exception_class} in {group.frame}" if letter.exception else "no recorded failure"
    paragraphs = [
        f"The dead letter {letter.id} as a test.",
        f"It is a {letter.type}, and died at {letter.service} on {letter.died_at:%Y-%m-%d at %H:%M:%S} UTC, with "
        f"{failed}.",
        f"Save it as {path} and run it:",
        f'    make test ARGS="{path} -q"',
        _HOW,
        _ROWS,
        *([_DISGUISED] if is_disguised else []),
    ]
    return "\n\n".join(
        paragraph
        if paragraph.startswith(" ")
        else textwrap.fill(_plain(paragraph), _WIDTH, break_long_words=False)
        for paragraph in paragraphs
    )


def _plain(text: str) -> str:
    """The text as it can stand in a docstring."""
    return re.sub(r"[^\x20-\x7e]|[\\\"]", "?", " ".join(text.split()))


def _json(value: Any) -> str:
    """Readable, and a raw literal of Python: JSON never has three quotes in a row."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text if text.replace("\n", "").isprintable() else json.dumps(value, indent=2)


def _noqa(text: str) -> str:
    return "  # noqa: E501" if any(len(line) > _LONGEST_LINE for line in text.splitlines()) else ""
