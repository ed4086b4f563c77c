"""The admin of history and projections: it shows, and refuses to add, change or delete, whoever asks."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.db.models import DateTimeField, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.functional import cached_property
from django.utils.text import capfirst

from eventstore.admin_privacy import PERMISSION, SENTENCE, masked
from eventstore.private_text import scrubbed

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin

MOST_LISTED = 10_000
"""Rows of a list, all pages together: to count millions takes seconds. Searches and filters find the others."""
_LOOKUPS = frozenset({"", "exact", "in", "isnull", "gte", "lt", "id__exact"})
"""Others, such as a regular expression or a part of a date, can be wrong in ways that only the database notices."""
CHOOSER = "service"
"""The part of an address that chooses a service where the table is in every service's database."""


def choice_filter(field: str, values: Iterable[str]) -> type[admin.SimpleListFilter]:
    """A filter by known values, for a text field without choices of its own: asking the table is a full scan."""

    class Filter(admin.SimpleListFilter):
        title = field
        parameter_name = field

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            return [(value, value.replace("_", " ")) for value in values]

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            return queryset.filter(**{field: self.value()}) if self.value() else queryset

    return Filter


def null_filter(field: str, title: str, *, null: str, given: str) -> type[admin.SimpleListFilter]:
    """A filter that puts into words whether the field has a value; the address takes `null` or `given`."""
    named = title

    class Filter(admin.SimpleListFilter):
        title = named
        parameter_name = f"{field}_is"

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            return [("null", null), ("given", given)]

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            if self.value() not in ("null", "given"):
                return queryset
            return queryset.filter(**{f"{field}__isnull": self.value() == "null"})

    return Filter


class TimeFilter(admin.DateFieldListFilter):
    """Django's filter by a time, under a title that is a phrase: `By time placed`, where the field is `placed_at`."""

    def __init__(self, field: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(field, *args, **kwargs)
        self.title = f"time {field.name.removesuffix('at').replace('_', ' ')}".strip()


def _is_named_as_a_time(field: Any) -> bool:
    return isinstance(field, DateTimeField) and (field.name == "at" or field.name.endswith("_at"))


admin.FieldListFilter.register(_is_named_as_a_time, TimeFilter, take_priority=True)


class _CappedPaginator(Paginator):  # type: ignore[type-arg]  # not subscriptable at run time
    """Pages of the first `MOST_LISTED` rows."""

    object_list: QuerySet[Any]

    @cached_property
    def count(self) -> int:
        return self.object_list.order_by()[:MOST_LISTED].count()


class HistoryAdmin(_ModelAdmin):
    """Pages of rows that are written by messages only. A wrong row is mended by a command, not by hand."""

    identifiers: tuple[str, ...] = ()
    """Fields that hold an identifier. A UUID typed into the search is compared with them, and nothing else. An
    address that asks for one of them alone (`?order_id=...`) leads to the row's page where there is one row, to a
    list where there are several, and to `empty_sentence` where there is none."""
    private_fields: tuple[str, ...] = ()
    """JSON fields that are masked for everybody without the permission to see personal data."""
    private_texts: tuple[str, ...] = ()
    """Text fields that hold exceptions or tracebacks; what these quote is hidden from the same people."""
    checks_its_address = False
    """Whether the list itself says what is wrong with its address."""
    empty_sentence = "Nothing has been recorded yet."

    paginator = _CappedPaginator
    list_per_page = 50
    show_full_result_count = False  # a second count of the whole table
    show_facets = admin.ShowFacets.NEVER  # a count for each choice of each filter

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """The row as this user may read it. It is masked here, so that no page can forget to."""
        row = super().get_object(request, object_id, from_field)
        if row is not None and self.hides_from(request):
            for field in self.private_fields:
                setattr(row, field, masked(getattr(row, field)))
            self._scrub(row)
        return row

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """What filters and links ask for; and nobody finds out by asking (`?data__email=…`) what he may not read."""
        field, _, how = lookup.partition("__")
        if how not in _LOOKUPS:
            return False
        if self.hides_from(request) and field in (
            *self.private_fields,
            *self.private_texts,
        ):
            return False
        return super().lookup_allowed(lookup, value, request)

    def get_search_fields(self, request: HttpRequest) -> Any:
        """Those that this user may read."""
        found = super().get_search_fields(request)
        if not self.hides_from(request):
            return found
        return [name for name in found if name not in (*self.private_fields, *self.private_texts)]

    def hides_from(self, request: HttpRequest) -> bool:
        """Whether what messages say about customers is hidden from this user."""
        return not request.user.has_perm(PERMISSION)

    def _scrub(self, row: Any) -> None:
        for field in self.private_texts:
            setattr(row, field, scrubbed(getattr(row, field)))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        try:
            identifier = str(UUID(search_term.strip()))
        except ValueError:
            return super().get_search_results(request, queryset, search_term)
        if not self.identifiers:
            return super().get_search_results(request, queryset, search_term)
        return queryset.filter(
            Q(*((field, identifier) for field in self.identifiers), _connector=Q.OR)
        ), False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.checks_its_address and (
            wrong := [name for name, values in request.GET.lists() if "\x00" in "".join(values)]
        ):
            raise BadRequest(f"{wrong[0]} holds a character (NUL) that is in nothing here.")
        asked = set(request.GET) - {CHOOSER}
        is_by_identifier = len(asked) == 1 and asked <= set(self.identifiers)
        is_narrowed = bool(asked) and not is_by_identifier
        sentence = "Nothing matches the search and the filters." if is_narrowed else self.empty_sentence
        told = {
            "title": capfirst(str(self.opts.verbose_name_plural)),  # not "Select … to view"
            "empty_sentence": sentence,
            "most_listed": MOST_LISTED,
            **(extra_context or {}),
        }
        response = super().changelist_view(request, told)
        found = getattr(response, "context_data", None) or {}
        if is_by_identifier and "cl" in found and found["cl"].result_count == 1:
            return redirect(found["cl"].url_for_result(found["cl"].result_list[0]))
        if self.private_texts and "cl" in found and self.hides_from(request):
            found["cl"].result_list = list(found["cl"].result_list)
            for row in found["cl"].result_list:
                self._scrub(row)
        return response

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        is_hidden = bool(self.private_fields or self.private_texts) and self.hides_from(request)
        context.update(is_history=True, privacy_sentence=SENTENCE if is_hidden else "")
        return super().render_change_form(request, context, *args, **kwargs)
