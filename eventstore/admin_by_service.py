"""Tables that are in every service's database: the admin shows one service's, chosen in the address."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.contrib.admin import SimpleListFilter
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import Http404, HttpRequest

from eventstore.admin_history import CHOOSER, HistoryAdmin


def chosen_service(request: HttpRequest) -> str:
    """The service in the address (`?service=billing`), else the first; raises `Http404` for one that is not there."""
    services: dict[str, str] = settings.SERVICES
    name = request.GET.get(CHOOSER) or next(iter(services))
    if name not in services:
        raise Http404(f"There is no service {name!r}; choose one of {', '.join(services)}.")
    return name


class ServiceChooser(SimpleListFilter):
    """One service at a time: there is no "all", because no query can see two databases."""

    title = "service"
    parameter_name = CHOOSER

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        self._chosen = chosen_service(request)
        return [(name, name) for name in settings.SERVICES]

    def choices(self, changelist: Any) -> Iterator[Any]:
        for name, title in self.lookup_choices:
            yield {
                "selected": name == self._chosen,
                "query_string": changelist.get_query_string({CHOOSER: name}),
                "display": title,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset  # chosen by the admin itself, for detail pages too


class _ServiceChangeList(ChangeList):
    """A list whose rows' addresses name the service."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self._service = chosen_service(request)
        super().__init__(request, *args, **kwargs)

    def url_for_result(self, result: Any) -> str:
        return f"{super().url_for_result(result)}?{CHOOSER}={self._service}"


class ByServiceAdmin(HistoryAdmin):
    """History of one service, read from that service's database. List `ServiceChooser` first in `list_filter`."""

    service_lookup: str
    """Finds the service's rows where services share a database, such as `consumer`."""

    def service_value(self, service: str) -> str:
        """What `service_lookup` is compared with."""
        return service

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        service = chosen_service(request)
        rows = super().get_queryset(request).using(settings.SERVICES[service])
        return rows.filter(**{self.service_lookup: self.service_value(service)})

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return _ServiceChangeList
