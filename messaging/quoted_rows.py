"""Keeping out what PostgreSQL quotes of a row in an error: it may be a customer's name or address.

A quoted value may hold line breaks, so everything is left out up to the next line that can only be PostgreSQL's or
Python's own.
"""

import re

_MARK = "DETAIL: "
_DETAIL = re.compile(
    r"\s*^DETAIL: .*?(?=^(?:HINT: |CONTEXT: |QUERY: |The above exception |During handling of |Traceback \()|\Z)",
    re.MULTILINE | re.DOTALL,
)


def without_rows(text: str) -> str:
    """The text of an error, or a traceback, without the rows that are quoted in it."""
    if _MARK not in text:
        return text
    return _DETAIL.sub("\n", text).rstrip("\n")
