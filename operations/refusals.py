"""What the admin answers where a page is missing or not permitted: in its own look, with a way back to it.

Everywhere else the shop's own pages answer.
"""

from http import HTTPStatus

from django.contrib.admin import site
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views import defaults


def not_permitted(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403; whoever asked is told whom to ask."""
    if not _is_of_the_admin(request):
        return defaults.permission_denied(request, exception)
    return _said(
        request,
        HTTPStatus.FORBIDDEN,
        title="Not permitted",
        sentence="You may not see this page.",
        then="Ask whoever administers the users of this shop for a group, or for the permission to view what is here.",
    )


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404."""
    if not _is_of_the_admin(request):
        return defaults.page_not_found(request, exception)
    return _said(
        request,
        HTTPStatus.NOT_FOUND,
        title="No such page",
        sentence="There is nothing at this address.",
        then="It may be mistyped, or what was here was pruned.",
    )


def _is_of_the_admin(request: HttpRequest) -> bool:
    return request.path.startswith(reverse("admin:index")) and site.has_permission(request)


def _said(request: HttpRequest, status: HTTPStatus, **told: str) -> HttpResponse:
    return TemplateResponse(
        request, "admin/refusal.html", {**site.each_context(request), **told}, status=status
    )
