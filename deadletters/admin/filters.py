"""Which letters a list in the admin shows: `LetterFilter` reads the address, the filters beside it only write it."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, cast

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import IGNORED_PARAMS, PAGE_VAR, ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property

from deadletters import tallies
from deadletters.collecting.amqp_values import is_plain
from deadletters.errors import WrongFilter
from deadletters.filtering import NAMES, LetterFilter
from deadletters.models import DeadLetter, LetterGroup
from eventstore.admin_history import MOST_LISTED, HistoryAdmin

LARGE = ("body", "headers", "properties", "deaths", "traceback", "words")
"""A body may be as large as the broker takes: a page of fifty letters must not fetch fifty of them."""
MOST_TYPES = 60
"""Types that are offered; others are found by their address."""
_SPANS = (
    ("last hour", timedelta(hours=1)),
    ("last 24 hours", timedelta(days=1)),
    ("last 7 days", timedelta(days=7)),
)


def chosen_letters(query: Mapping[str, str]) -> LetterFilter:
    """The letters that an address of the list means; raises `WrongFilter` for a parameter that it cannot have."""
    _refuse_unknown(query, NAMES)
    return LetterFilter.from_query(query)


def _refuse_unknown(query: Mapping[str, str], known: tuple[str, ...]) -> None:
    own = {*known, *IGNORED_PARAMS, PAGE_VAR}
    if unknown := sorted(set(query) - own):
        raise WrongFilter(f"There is no filter {unknown[0]!r} here; there are {', '.join(known)}.")
    if wrong := [name for name, value in query.items() if not is_plain(value)]:
        raise WrongFilter(f"{wrong[0]} holds a character that is in nothing here.")


class _RefusingChangeList(ChangeList):
    """A list that says what is wrong with its address, and then shows nothing."""

    parameters: tuple[str, ...]
    problem = ""

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        return {
            name: value
            for name, value in super().get_filters_params(params).items()
            if name in self.parameters
        }

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        found: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        try:
            return self.chosen(found, request)
        except WrongFilter as error:
            self.problem = str(error)
            return found.none()

    def get_results(self, request: HttpRequest) -> None:
        try:
            super().get_results(request)
        except IncorrectLookupParameters:
            self.problem = f"There is no page {self.page_num} of these; the first page is number 1."
            self.queryset, self.page_num = self.queryset.none(), 1
            super().get_results(request)

    def chosen(self, found: QuerySet[Any], request: HttpRequest) -> QuerySet[Any]:
        """Those that the address means; raises `WrongFilter`."""
        _refuse_unknown(request.GET, self.parameters)
        return found


class LetterChangeList(_RefusingChangeList):
    """The letters that a `LetterFilter` in the address means, without their bodies."""

    parameters = NAMES
    letters: LetterFilter = LetterFilter()

    def chosen(self, found: QuerySet[DeadLetter], request: HttpRequest) -> QuerySet[DeadLetter]:
        self.letters = chosen_letters(request.GET)
        return self.letters.apply(found).defer(*LARGE)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        if cast(HistoryAdmin, self.model_admin).hides_from(request):
            for letter in self.result_list:
                # What an exception quotes could only be told from the body, which is not fetched here.
                letter.exception = (
                    f"{letter.group.exception_class} in {letter.group.frame}" if letter.exception else ""
                )


class LetterPaginator(Paginator):  # type: ignore[type-arg]  # not subscriptable at run time
    """Pages of the letters that are meant, counted by the tallies where these know, and of `MOST_LISTED` at most."""

    object_list: QuerySet[DeadLetter]

    def __init__(self, letters: QuerySet[DeadLetter], per_page: int, *, chosen: LetterFilter) -> None:
        super().__init__(letters, per_page)
        self._chosen = chosen

    @cached_property
    def counted(self) -> tallies.Counted:
        return tallies.count(self._chosen, most=MOST_LISTED, meant=self.object_list)

    @cached_property
    def count(self) -> int:
        return min(self.counted.number, MOST_LISTED)


class GroupChangeList(_RefusingChangeList):
    parameters = ("open", "service", "type", "q")


class _Parameters(admin.ListFilter):
    """Writes parameters of the address. What they choose is chosen by the list as a whole."""

    names: tuple[str, ...]

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self.given: dict[str, str] = {name: params.pop(name)[-1] for name in self.names if name in params}

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return list(self.names)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset

    def choice(self, changelist: Any, text: str, **values: str) -> dict[str, Any]:
        """A choice that gives the parameters these values, and takes away those without one."""
        wanted = {name: values.get(name) for name in self.names}
        return {
            "selected": self.given == values,
            "query_string": changelist.get_query_string(wanted),
            "display": text,
        }


def _one_of(name: str, offered: Any, *, named: str = "") -> type[_Parameters]:
    """A filter by one parameter, `named` where that is no word for it. `offered()` are its values, each with
    its words; one that was typed is added."""

    class Filter(_Parameters):
        title = named or name
        names = (name,)

        def choices(self, changelist: Any) -> Iterator[Any]:
            yield self.choice(changelist, "All")
            values = dict(offered())
            values.setdefault(self.given.get(name, ""), self.given.get(name, ""))
            for value, text in values.items():
                if value:
                    yield self.choice(changelist, text, **{name: value})

    return Filter


def _only_given(name: str) -> type[_Parameters]:
    """A filter that no list can offer, as there are too many values; here it can be taken away again."""

    class Filter(_Parameters):
        title = name
        names = (name,)

        def has_output(self) -> bool:
            return name in self.given

        def choices(self, changelist: Any) -> Iterator[Any]:
            yield self.choice(changelist, "All")
            value = self.given[name]
            yield self.choice(changelist, value if len(value) <= 40 else f"{value[:39]}…", **{name: value})

    return Filter


def _states() -> list[tuple[str, str]]:
    return [(state.value, state.value) for state in DeadLetter.State]


def _services() -> list[tuple[str, str]]:
    return [(service, service) for service in settings.SERVICES]


def _types() -> list[tuple[str, str]]:
    """Those that have letters, by their groups, which are few."""
    found = LetterGroup.objects.exclude(type="").order_by("type").values_list("type", flat=True).distinct()
    return [(wire_type, wire_type) for wire_type in found[:MOST_TYPES]]


class DeathTime(_Parameters):
    """When letters died: a span up to now, which the address keeps as a time, or any times that are typed."""

    title = "time of death"
    names = ("since", "until")
    template = "admin/deadletters/time_filter.html"

    def choices(self, changelist: Any) -> Iterator[Any]:
        yield {**self.choice(changelist, "Any time"), "given": self.given, "kept": self._kept(changelist)}
        this_minute = timezone.now().replace(second=0, microsecond=0)
        for text, span in _SPANS:
            yield self.choice(changelist, text, since=f"{this_minute - span:%Y-%m-%dT%H:%MZ}")

    def _kept(self, changelist: Any) -> list[tuple[str, str]]:
        """The other parameters, for the form that sends these two."""
        return [(name, value) for name, value in changelist.params.items() if name not in self.names]


STATE_FILTER = _one_of("state", _states)
SERVICE_FILTER = _one_of("service", _services)
TYPE_FILTER = _one_of("type", _types)
OPEN_FILTER = _one_of("open", lambda: [("yes", "some are open")], named="letters")
LETTER_FILTERS = (
    STATE_FILTER,
    SERVICE_FILTER,
    DeathTime,
    TYPE_FILTER,
    *(_only_given(name) for name in ("group", "order", "message", "ids")),
)
GROUP_FILTERS = (
    OPEN_FILTER,
    SERVICE_FILTER,
    _only_given("type"),
)  # each group names its type, and a search finds it
