"""How the mending pages show what they are given: as every page of the admin does."""

import json
from datetime import datetime
from typing import Any

from django import template

from eventstore import admin_columns

register = template.Library()


@register.filter
def shown_moment(at: datetime | None) -> str:
    return admin_columns.moment(at)


@register.filter
def shown_badge(words: str, tone: str) -> str:
    return admin_columns.badge(words, admin_columns.Tone(tone))


@register.filter
def shown_json(value: Any) -> str:
    return admin_columns.json_block(value)


@register.filter
def as_json(value: Any) -> str:
    """A value as it stands in the message: text in quotes, so that an empty one is seen."""
    return json.dumps(value, ensure_ascii=False)
