"""Times as people say them: `5 min ago`, `in 3 h`."""

from datetime import datetime, timedelta

FAR = timedelta(days=30)
"""From here on a date says more than a number of days."""
_JUST_NOW = timedelta(seconds=5)
_SKEW = timedelta(seconds=1)
"""Another machine's clock may be ahead by as much: what has happened is never told as yet to come."""


def span(length: timedelta) -> str:
    """`40 s`, `5 min`, `3 h` or `12 days`: whole units, never rounded up; a negative one counts as none."""
    seconds = max(0, int(length.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 86_400:
        return f"{seconds // 3600} h"
    days = seconds // 86_400
    return f"{days} day{'s' if days != 1 else ''}"


def relative(at: datetime, *, now: datetime) -> str | None:
    """`just now`, `5 min ago` or `in 3 h`; None for what is `FAR` away, in either direction."""
    if abs(at - now) >= FAR:
        return None
    if at > now + _SKEW:
        return f"in {span(at - now)}"
    return "just now" if now - at < _JUST_NOW else f"{span(now - at)} ago"
