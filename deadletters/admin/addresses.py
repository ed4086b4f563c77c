"""Addresses of the desk's pages, and which of them a letter or a filter offers to whom."""

from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlencode

import msgspec
from django.urls import reverse
from django.utils.html import format_html

from deadletters.desk import PERMISSIONS
from deadletters.filtering import LetterFilter
from deadletters.jobs.letter_jobs import NEEDED
from deadletters.models import DeadLetter, LetterJob

LETTERS = "admin:deadletters_deadletter_changelist"
LETTER = "admin:deadletters_deadletter_change"
GROUP = "admin:deadletters_lettergroup_change"
JOB = "admin:deadletters_letterjob_change"
EDIT = "admin:deadletters_letteredit_change"
_EDITING = "deadletters.edit_deadletter"


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
    return with_query(reverse("admin:deadletters_act", args=[kind]), query)


def with_query(address: str, query: Mapping[str, str]) -> str:
    return f"{address}?{urlencode(query)}" if query else address


def page_link(name: str, text: str, *args: object) -> str:
    """A link to this page of the admin."""
    return format_html('<a href="{}">{}</a>', reverse(name, args=args), text)


def links_for_all(chosen: LetterFilter, *, may: Callable[[str], bool], which: str = "") -> Iterator[Link]:
    """What may be done with all the letters that are meant, `which` in words. In a filter without a state, the open
    ones are meant: a discarded letter is not restored by mistake."""
    for kind in LetterJob.Kind:
        needed = NEEDED[kind]
        is_fitting = chosen.state == needed or (not chosen.state and needed is DeadLetter.State.OPEN)
        if is_fitting and may(PERMISSIONS[kind]):
            wanted = msgspec.structs.replace(chosen, state=needed.value)
            yield Link(address=act_address(kind, wanted.to_query()), text=f"{kind.capitalize()}{which}…")


def links_for_one(letter: DeadLetter, *, may: Callable[[str], bool], is_editing_on: bool) -> Iterator[Link]:
    """What may be done with this letter now."""
    query = {"ids": str(letter.id)}
    for kind in LetterJob.Kind:
        if letter.state != NEEDED[kind] or not may(PERMISSIONS[kind]):
            continue
        yield Link(address=act_address(kind, query), text=f"{kind.capitalize()}…")
        if kind is LetterJob.Kind.REPLAY:
            yield Link(address=f"{act_address(kind, query)}#begins_at", text="Replay later…")
            dry_run = reverse("admin:deadletters_dry_run", args=[letter.id])
            yield Link(address=dry_run, text="Dry run", is_post=True)
    if letter.state == DeadLetter.State.OPEN and is_editing_on and may(_EDITING):
        yield Link(address=reverse("admin:deadletters_edit", args=[letter.id]), text="Edit and replay…")
