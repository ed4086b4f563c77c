"""Which letters are meant: one description for the desk's addresses, the commands and the bulk jobs."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db.models import QuerySet

from deadletters.collecting.amqp_values import is_plain
from deadletters.errors import WrongFilter
from deadletters.models import DeadLetter
from deadletters.searching import narrowed, of_message

MOST_IDS = 1_000
"""Letters that may be named one by one; more are described by a filter."""
NAMES = ("state", "service", "type", "group", "order", "message", "since", "until", "q", "ids")


class LetterFilter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All of what is given must hold. `since` and `until` bound the death: from the one to before the other.

    `text` is words: each must be a word of the type, the exception or the body, as far as that is not personal. With an
    asterisk at its end it is the beginning of one.
    """

    state: str = ""
    service: str = ""
    type: str = ""
    fingerprint: str = ""
    order: str = ""
    message_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""
    ids: tuple[UUID, ...] = ()

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> "LetterFilter":
        """Read an address's parameters, passing over what is no filter's; raises `WrongFilter` naming one."""
        given = {name: query[name].strip() for name in NAMES if query.get(name, "").strip()}
        for name, text in given.items():
            if not is_plain(text):
                raise WrongFilter(f"{name} is {text!r}; it holds a character that is in no letter.")
        if (state := given.get("state", "")) and state not in DeadLetter.State.values:
            raise WrongFilter(f"state is {state!r}; it must be one of {', '.join(DeadLetter.State.values)}.")
        ids = tuple(_uuid("ids", text) for text in given.get("ids", "").split(",") if text)
        if len(ids) > MOST_IDS:
            raise WrongFilter(
                f"ids names {len(ids)} letters; at most {MOST_IDS} can be named. Use a filter instead."
            )
        return cls(
            state=state,
            service=given.get("service", ""),
            type=given.get("type", ""),
            fingerprint=given.get("group", ""),
            order=given.get("order", ""),
            message_id=_uuid("message", given["message"]) if "message" in given else None,
            since=_moment("since", given["since"]) if "since" in given else None,
            until=_moment("until", given["until"]) if "until" in given else None,
            text=given.get("q", ""),
            ids=ids,
        )

    def to_query(self) -> dict[str, str]:
        """The parameters of an address that means the same letters."""
        told = {
            "state": self.state,
            "service": self.service,
            "type": self.type,
            "group": self.fingerprint,
            "order": self.order,
            "message": str(self.message_id or ""),
            "since": self.since.isoformat() if self.since else "",
            "until": self.until.isoformat() if self.until else "",
            "q": self.text,
            "ids": ",".join(map(str, self.ids)),
        }
        return {name: value for name, value in told.items() if value}

    def apply(self, letters: QuerySet[DeadLetter]) -> QuerySet[DeadLetter]:
        """Those of the letters that are meant. Where there is a text, one statement asks first how common it is."""
        fields: dict[str, Any] = {
            "state": self.state,
            "service": self.service,
            "type": self.type,
            "group_id": self.fingerprint,
            "correlation_id": self.order,
            "died_at__gte": self.since,
            "died_at__lt": self.until,
            "id__in": self.ids,
        }
        found = letters.filter(**{name: value for name, value in fields.items() if value})
        if self.message_id:
            found = found.filter(of_message(self.message_id))
        return narrowed(found, self.text, known=(self.service, self.type)) if self.text else found

    def describe(self, *, group: str = "") -> str:
        """In words, for people: `open letters of billing of type billing.authorize_payment.v1`.

        `group` is what the letters of the fingerprint have in common, where the caller knows it.
        """
        if self.ids:
            return f"{len(self.ids)} chosen letter{'s' if len(self.ids) != 1 else ''}"
        said = [f"{self.state} letters".strip() if self.state else "letters"]
        said += [f"of {self.service}"] if self.service else []
        said += [f"of type {self.type}"] if self.type else []
        said += [f"of the group {group or self.fingerprint}"] if self.fingerprint else []
        said += [f"of order {self.order}"] if self.order else []
        said += [f"of message {self.message_id}"] if self.message_id else []
        said += [f"that died from {self.since:%Y-%m-%d %H:%M:%S} UTC on"] if self.since else []
        said += [f"that died before {self.until:%Y-%m-%d %H:%M:%S} UTC"] if self.until else []
        said += [f"with the words {self.text!r}"] if self.text else []
        return " ".join(said)


def _uuid(name: str, text: str) -> UUID:
    try:
        return UUID(text.strip())
    except ValueError:
        raise WrongFilter(
            f"{name} is {text!r}, which is no identifier: it looks like {UUID(int=0)}."
        ) from None


def _moment(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise WrongFilter(
            f"{name} is {text!r}, which is no time: write 2026-01-31 or 2026-01-31T17:05."
        ) from None
