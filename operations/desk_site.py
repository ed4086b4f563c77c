"""The admin of the operators: what stands on each of its pages, and the first one."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from django.conf import settings
from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse

from deadletters import tallies
from messaging.envelope import utc_now
from operations import dashboard
from operations.rooms import lists, wings
from sagas import switching
from sagas.models import PauseSwitch


class News:
    """What everybody who works here is to know: asked once a page, and only where it is shown."""

    @cached_property
    def open_letters(self) -> dict[str, int]:
        """Open dead letters by service."""
        return tallies.open_by_service()

    @cached_property
    def number(self) -> str:
        """All of them; empty where there is none."""
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


class DeskSite(AdminSite):
    """Django's admin with the rooms of the desk, a line about open dead letters, and a dashboard to begin with."""

    enable_nav_sidebar = False

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        context = super().each_context(request)
        return {
            **context,
            "wings": wings(context["available_apps"], request.path),
            "news": _news_for(request, News()),
            "switches_set": _switches_for(request),
            "flower_url": settings.FLOWER_URL,
        }

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        news = News()
        shown = dashboard.look(
            now=utc_now(), open_letters=news.open_letters, lists=lists(self.get_app_list(request))
        )
        asked = {"dashboard": shown, "news": _news_for(request, news)}
        return super().index(request, {**asked, **(extra_context or {})})


def _switches_for(request: HttpRequest) -> Callable[[], list[PauseSwitch]]:
    """The pause switches that are set, asked for where they are shown, by whoever may see sagas."""
    return switching.switches_set if request.user.has_perm("sagas.view_sagarecord") else list


def _news_for(request: HttpRequest, news: News) -> News | None:
    return news if request.user.has_perm("deadletters.view_deadletter") else None
