"""What replaying, discarding and restoring mean, in words for whoever is about to do it. Pure."""

from collections.abc import Sequence

import msgspec

from deadletters.desk import MOST_AT_ONCE, PERMISSIONS
from deadletters.jobs.letter_jobs import NEEDED
from deadletters.models import DeadLetter, LetterJob
from deadletters.tallies import Counted


class ActWords(msgspec.Struct, frozen=True, kw_only=True):
    """One of the three things that can be done with letters."""

    kind: LetterJob.Kind
    done: str
    consequences: tuple[str, ...]
    is_reason_required: bool = False
    may_be_later: bool = False

    @property
    def permission(self) -> str:
        return PERMISSIONS[self.kind]

    @property
    def needs(self) -> DeadLetter.State:
        """Letters in another state stay as they are."""
        return NEEDED[self.kind]

    def is_at_once(self, count: Counted) -> bool:
        """Whether it is done before the next page; else it becomes a bulk job."""
        return count.is_exact and count.number <= MOST_AT_ONCE[self.kind]


_WORDS = (
    ActWords(
        kind=LetterJob.Kind.REPLAY,
        done="sent again",
        consequences=(
            "Each message is sent again, with its own ids, to the one queue where it died.",
            "What has had its effect already has no second one. A saga that waits for the message goes on.",
            "A letter closes when its message has been handled. If it fails again, another letter is opened in its "
            "place.",
        ),
        may_be_later=True,
    ),
    ActWords(
        kind=LetterJob.Kind.DISCARD,
        done="discarded",
        consequences=(
            "The messages are never handled.",
            "Where one is a saga's command, that step counts as failed, and the saga goes on without it: it undoes "
            "what it has done, or asks for a person.",
            "Discarded letters can be restored. What a saga has undone by then stays undone.",
        ),
        is_reason_required=True,
    ),
    ActWords(
        kind=LetterJob.Kind.RESTORE,
        done="open again",
        consequences=(
            "The letters are open again, and wait for a person.",
            "Nothing is sent. A saga that was told of the discarding has counted its step as failed, and does not "
            "take that back.",
        ),
    ),
)


def words_of(kind: LetterJob.Kind) -> ActWords:
    return next(words for words in _WORDS if words.kind == kind)


def plan(number: int, *, ramp: Sequence[int], is_exact: bool = True) -> list[str]:
    """The stages of a bulk replay of so many letters: `1`, `5`, `20`, `all 74 others`."""
    told: list[str] = []
    left = number
    for size in ramp:
        if left <= 0:
            return told
        taken = min(size, left)
        told.append(str(taken))
        left -= taken
    if not is_exact:
        return [*told, "all others"]
    if left > 0:
        told.append(f"{'the other one' if left == 1 else f'all {left} others'}" if told else f"all {left}")
    return told
