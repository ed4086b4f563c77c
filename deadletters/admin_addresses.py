"""Addresses of the desk's pages, and which of them a letter or a filter offers to whom."""

from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html

from deadletters.filtering import LetterFilter
from deadletters.models import DeadLetter, LetterJob

LETTERS = "admin:deadletters_deadletter_changelist"
LETTER = "admin:deadletters_deadletter_change"
GROUP = "admin:deadletters_lettergroup_change"
JOB = "admin:deadletters_letterjob_change"
EDIT = "admin:deadletters_letteredit_change"


class Mending(msgspec.Struct, frozen=True, kw_only=True):
    """What can be done with letters: with which permission, and in which state they must be."""

    kind: LetterJob.Kind
    permission: str
    state: DeadLetter.State
    verb: str


MENDINGS = (
    Mending(
        kind=LetterJob.Kind.REPLAY,
        permission="deadletters.replay_deadletter",
        state=DeadLetter.State.OPEN,
        verb="Replay",
    ),
    Mending(
        kind=LetterJob.Kind.DISCARD,
        permission="deadletters.discard_deadletter",
        state=DeadLetter.State.OPEN,
        verb="Discard",
    ),
    Mending(
        kind=LetterJob.Kind.RESTORE,
        permission="deadletters.discard_deadletter",
        state=DeadLetter.State.DISCARDED,
        verb="Restore",
    ),
)


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """Somewhere to go; with `is_post`, a button that asks for it."""

    address: str
    text: str
    is_post: bool = False


def letters_address(chosen: LetterFilter) -> str:
    """The list of the letters that are meant."""
    return with_query(reverse(LETTERS), chosen.to_query())


def act_address(kind: str, query: Mapping[str, str]) -> str:
    """The page that asks before it replays, discards or restores the letters that the parameters mean."""
    try:
        address = reverse("admin:deadletters_act", args=[kind])
    except NoReverseMatch:
        address = f"{reverse(LETTERS)}act/{kind}/"
    return with_query(address, query)


def with_query(address: str, query: Mapping[str, str]) -> str:
    return f"{address}?{urlencode(query)}" if query else address


def page_or_text(name: str, text: str, *args: object) -> str:
    """A link to this page, or the text alone where the admin has no such page."""
    try:
        return format_html('<a href="{}">{}</a>', reverse(name, args=args), text)
    except NoReverseMatch:
        return text


def mending_links(chosen: LetterFilter, *, may: Callable[[str], bool], of: str = "") -> Iterator[Link]:
    """What may be done with all the letters that are meant, `of` saying which; in the state that it needs."""
    for mending in MENDINGS:
        is_fitting = chosen.state == mending.state or (
            not chosen.state and mending.state is DeadLetter.State.OPEN
        )
        if is_fitting and may(mending.permission):
            wanted = msgspec.structs.replace(chosen, state=mending.state.value)
            yield Link(
                address=act_address(mending.kind, wanted.to_query()), text=f"{mending.verb}{of or ''}…"
            )


def letter_links(letter: DeadLetter, *, may: Callable[[str], bool], is_editing_on: bool) -> Iterator[Link]:
    """What may be done with this letter now."""
    query = {"ids": str(letter.id)}
    for mending in MENDINGS:
        if letter.state != mending.state or not may(mending.permission):
            continue
        address = act_address(mending.kind, query)
        yield Link(address=address, text=f"{mending.verb}…")
        if mending.kind == LetterJob.Kind.REPLAY:
            yield Link(address=act_address(mending.kind, {**query, "later": "yes"}), text="Replay later…")
    if letter.state == DeadLetter.State.OPEN:
        if is_editing_on and may("deadletters.edit_deadletter"):
            yield from _own_page("admin:deadletters_edit", letter.id, "Edit and replay…")
        yield from _own_page("admin:deadletters_dry_run", letter.id, "Dry run", is_post=True)


def _own_page(name: str, letter_id: UUID, text: str, *, is_post: bool = False) -> Iterator[Link]:
    try:
        yield Link(address=reverse(name, args=[letter_id]), text=text, is_post=is_post)
    except NoReverseMatch:
        return
