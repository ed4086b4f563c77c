"""How often a message is tried, and how long each attempt is waited for: a policy, declared with its handler."""

import random
from collections.abc import Callable
from datetime import timedelta
from math import isfinite

import msgspec
from django.conf import settings

from messaging.errors import InvalidPolicy, PermanentError


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a message whose handler fails. A field that is not given is the one of the settings.

    Before attempt 2 `first_pause` seconds pass; the pause then doubles up to `longest_pause`. `jitter` is the part
    of a pause that is left to chance (0: none), so that what failed together is not repeated together. An error of
    one of the types in `permanent`, like any `PermanentError`, is not repeated at all. Raises `InvalidPolicy`
    that names the field.
    """

    attempts: int = msgspec.field(default_factory=lambda: settings.RETRY_ATTEMPTS)
    first_pause: float = msgspec.field(default_factory=lambda: settings.RETRY_FIRST_PAUSE)
    longest_pause: float = msgspec.field(
        default_factory=lambda: max(settings.RETRY_FIRST_PAUSE, settings.RETRY_LONGEST_PAUSE)
    )
    jitter: float = 0.5
    permanent: tuple[type[Exception], ...] = ()

    def __post_init__(self) -> None:
        if type(self.attempts) is not int or self.attempts < 1:
            raise InvalidPolicy("attempts", self.attempts, "a whole number from 1 on")
        if not _is_number(self.first_pause) or self.first_pause <= 0:
            raise InvalidPolicy("first_pause", self.first_pause, "seconds, more than 0")
        if not _is_number(self.longest_pause) or self.longest_pause < self.first_pause:
            raise InvalidPolicy(
                "longest_pause",
                self.longest_pause,
                f"seconds, no fewer than the first pause of {self.first_pause:g}",
            )
        if not _is_number(self.jitter) or not 0 <= self.jitter <= 1:
            raise InvalidPolicy("jitter", self.jitter, "a number from 0 to 1")
        if not isinstance(self.permanent, tuple) or not all(map(_is_error_type, self.permanent)):
            raise InvalidPolicy("permanent", self.permanent, "a tuple of exception types")

    def is_permanent(self, error: Exception) -> bool:
        """Whether no further attempt can succeed after this error."""
        return isinstance(error, (PermanentError, *self.permanent))

    def is_last(self, attempt: int, error: Exception) -> bool:
        """Whether the message becomes a dead letter after this attempt (1 is the first) has failed so."""
        return attempt >= self.attempts or self.is_permanent(error)

    def longest_pause_before(self, attempt: int) -> timedelta:
        """The pause before this attempt (2 is the first repetition) where chance takes nothing off."""
        doublings = min(attempt - 2, 32)
        return timedelta(seconds=min(self.longest_pause, self.first_pause * 2.0**doublings))

    def pause_before(
        self, attempt: int, *, chance: Callable[[float, float], float] = random.uniform
    ) -> timedelta:
        """The pause before this attempt, with its jitter."""
        return self.longest_pause_before(attempt) * chance(1 - self.jitter, 1)

    def total_pauses(self) -> timedelta:
        """How long a message that fails every time waits altogether, at most; what its attempts take comes on top."""
        pauses = (self.longest_pause_before(attempt) for attempt in range(2, self.attempts + 1))
        return sum(pauses, start=timedelta())


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and isfinite(value)  # type: ignore[arg-type]  # it is one of the two


def _is_error_type(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)
