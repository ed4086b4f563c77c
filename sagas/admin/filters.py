"""What the list of sagas is narrowed by, and how many there are of each kind. Every question has an index."""

from typing import Any

from django.contrib import admin
from django.db import connections
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from sagas.models import SagaRecord
from sagas.records import DATABASE
from sagas.registry import DEFINITIONS
from sagas.state import SagaStatus

MOST_COUNTED = 10_000
ATTENTION = {
    "person": ("needs a person", Q(needs_a_person=True)),
    "overdue": ("overdue", Q(is_overdue=True)),
    "paused": ("paused by a person", Q(paused_at__isnull=False, finished_at__isnull=True)),
    "withheld": ("held back by a switch", Q(is_withheld=True)),
}
"""What somebody may have to do something about; by the word in the address."""


class AttentionFilter(admin.SimpleListFilter):
    title = "attention"
    parameter_name = "attention"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(word, told) for word, (told, _) in ATTENTION.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[SagaRecord]) -> QuerySet[SagaRecord]:
        known = ATTENTION.get(self.value() or "")
        return queryset if known is None else queryset.filter(known[1])


class NameFilter(admin.SimpleListFilter):
    title = "saga"
    parameter_name = "name"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted({name for name, _ in DEFINITIONS})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[SagaRecord]) -> QuerySet[SagaRecord]:
        return queryset.filter(name=self.value()) if self.value() else queryset


class StepFilter(admin.SimpleListFilter):
    """Sagas that are at this step now."""

    title = "current step"
    parameter_name = "step"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        steps = (step.name for saga in DEFINITIONS.values() for step in saga.steps)
        return [(name, name) for name in dict.fromkeys(steps)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[SagaRecord]) -> QuerySet[SagaRecord]:
        if not self.value():
            return queryset
        # Several steps may be under way; only unfinished sagas are at any.
        return queryset.filter(finished_at__isnull=True, current__regex=rf"\m{_word(self.value())}\M")


def _word(value: str | None) -> str:
    """What may be in a step's name; anything else is in none."""
    return "".join(letter for letter in value or "" if letter.isalnum() or letter in "_-")


_COUNT = """
SELECT {kinds}""".format(
    kinds=", ".join(
        f"(SELECT count(*) FROM (SELECT 1 FROM sagas_sagarecord WHERE {condition} LIMIT {MOST_COUNTED + 1}) AS found)"  # noqa: S608
        for condition in (
            "needs_a_person",
            "is_overdue",
            "paused_at IS NOT NULL AND finished_at IS NULL",
            "is_withheld",
            *(f"status = '{status.value}'" for status in SagaStatus),
        )
    )
)


def counts() -> dict[str, str]:
    """By the words of `ATTENTION` and by state: the number of sagas, or that there are more than ten thousand."""
    with connections[DATABASE].cursor() as cursor:
        cursor.execute(_COUNT)
        found = cursor.fetchone()
    names = (*ATTENTION, *(status.value for status in SagaStatus))
    return {
        name: f"{number:,}" if number <= MOST_COUNTED else f"more than {MOST_COUNTED:,}"
        for name, number in zip(names, found, strict=True)
    }
