"""Letters by their words, newest first, also among millions.

There are two ways to the newest letters that say something: from the newest on, looking at the words of each, and from
the index of words, sorting all that it names. Each takes seconds where the other takes milliseconds, and the planner
cannot tell: it takes a word that it does not know for one of every two hundred letters. So the newest letters are asked
first, and then the way is prescribed.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.search import SearchQuery
from django.db.models import BooleanField, Count, F, Func, Q, QuerySet, Value

from deadletters.collecting.words import query_of, words_in
from deadletters.models import DeadLetter, LetterEdit

LOOKED_AT = 5_000
"""The newest letters that are asked how common a text is."""
COMMON = 100
"""Of them; where as many say it, a page is found sooner from the newest on."""


class _Typed(SearchQuery):
    """Words that are cut already, as those of the letters are: no parser of the database cuts them again."""

    template = "(%(expressions)s)::tsquery"


class _Says(Func):
    """Whether the letter says it, in a form for which no index is used."""

    template = "((%(expressions)s::tsquery) IS TRUE)"
    arg_joiner = " @@ "
    output_field = BooleanField()


class _IsOneOf(Func):
    """Whether the letter is one of an array's, in a form that the planner takes for very few letters."""

    template = "(%(expressions)s))"
    arg_joiner = " = ANY("
    output_field = BooleanField()


def narrowed(letters: QuerySet[DeadLetter], text: str, *, known: Sequence[str]) -> QuerySet[DeadLetter]:
    """Those that say all words of the text. An identifier of order, message, saga or letter typed whole finds that.

    `known` are texts that all of these letters say anyway, such as their type: the index is asked for them too, and
    then names no letters of other types.
    """
    query = query_of(text)
    if not query:
        return letters.none()
    try:
        return _from_index(letters, Q(words=_Typed(query)) | _named(UUID(text)))
    except ValueError:
        says = _Says(F("words"), Value(query))
        if _is_common(letters, says):
            return letters.filter(says)
        return _from_index(letters, Q(words=_Typed(" & ".join((query, *words_in(*known))))))


def _is_common(letters: QuerySet[DeadLetter], says: Any) -> bool:
    newest = letters.order_by("-died_at", "-id").annotate(says=says).values("says")[:LOOKED_AT]
    return bool(newest.aggregate(number=Count("says", filter=Q(says=True)))["number"] >= COMMON)


def _from_index(letters: QuerySet[DeadLetter], condition: Q) -> QuerySet[DeadLetter]:
    return letters.filter(_IsOneOf(F("id"), ArraySubquery(letters.order_by().filter(condition).values("id"))))


def of_message(message_id: UUID) -> Q:
    """Letters of this message, and the letter that was edited into it. Edits are made by hand: they are few."""
    edits = LetterEdit.objects.filter(message_id=message_id)
    return Q(message_id=message_id) | Q(_IsOneOf(F("id"), ArraySubquery(edits.values("letter_id"))))


def _named(identifier: UUID) -> Q:
    named = ("id", "saga_id", "replay_id")
    others = Q(*((name, identifier) for name in named), correlation_id=str(identifier), _connector=Q.OR)
    return others | of_message(identifier)
