"""The admin of the operators: what stands on each of its pages, and the first one."""

from functools import cached_property
from typing import Any

from django.conf import settings
from django.contrib.admin import AdminSite
from django.db import connections
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import path

from deadletters import tallies
from messaging.envelope import utc_now
from operations import dashboard
from operations.rooms import lists, wings

_SEEN = f"""
SELECT 'letters', service, waiting::text, '' FROM ({tallies.IN_HAND}) AS hand (service, waiting, replaying)
UNION ALL
SELECT 'switch', kind, name, reason FROM sagas_pauseswitch WHERE lifted_at IS NULL"""  # noqa: S608 - constants of ours


class News:
    """What everybody who works here is to know: asked once a page, in one statement, and only where it is shown."""

    def __init__(self, user: Any) -> None:
        self._user = user

    @cached_property
    def _seen(self) -> list[tuple[str, str, str, str]]:
        with connections["default"].cursor() as cursor:
            cursor.execute(_SEEN)
            return list(cursor.fetchall())

    @cached_property
    def open_letters(self) -> dict[str, int]:
        """Open dead letters by service."""
        return {
            service: int(waiting)
            for kind, service, waiting, _ in self._seen
            if kind == "letters" and int(waiting or 0)
        }

    @cached_property
    def number(self) -> str:
        """All of them; empty where there is none, or where whoever asks may not see letters."""
        if not self._user.has_perm("deadletters.view_deadletter"):
            return ""
        open_letters = sum(self.open_letters.values())
        return f"{open_letters:,}" if open_letters else ""

    @property
    def sentence(self) -> str:
        """`1 dead letter is open`."""
        return f"{self.number} dead {'letter is' if self.number == '1' else 'letters are'} open"

    @property
    def by_service(self) -> list[str]:
        """`3 in billing`."""
        return [f"{number:,} in {service}" for service, number in sorted(self.open_letters.items())]

    @cached_property
    def switches(self) -> list[dict[str, str]]:
        """The pause switches that are set, for whoever may see sagas."""
        if not self._user.has_perm("sagas.view_sagarecord"):
            return []
        return [
            {"kind": kind, "name": name, "reason": reason}
            for what, kind, name, reason in self._seen
            if what == "switch"
        ]


class DeskSite(AdminSite):
    """Django's admin with the rooms of the desk, a line about open dead letters, and a dashboard to begin with."""

    enable_nav_sidebar = False

    def get_urls(self) -> list[Any]:
        # Not at the top: this site is made before the pages that import it are.
        from operations import saga_holdings

        holdings = self.admin_view(saga_holdings.page)
        return [
            path("sagas/sagarecord/<uuid:saga_id>/held/", holdings, name="saga_holdings"),
            *super().get_urls(),
        ]

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        context = super().each_context(request)
        return {
            **context,
            "wings": wings(context["available_apps"], request.path),
            "news": _news_for(request, News(request.user)),
            "flower_url": settings.FLOWER_URL,
        }

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        news = News(request.user)
        shown = dashboard.look(
            now=utc_now(), open_letters=news.open_letters, lists=lists(self.get_app_list(request))
        )
        asked = {"dashboard": shown, "news": _news_for(request, news)}
        return super().index(request, {**asked, **(extra_context or {})})


def _news_for(request: HttpRequest, news: News) -> News | None:
    sees = ("deadletters.view_deadletter", "sagas.view_sagarecord")
    return news if any(request.user.has_perm(permission) for permission in sees) else None
