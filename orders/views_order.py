"""The page of one order, and the same page's news while the order is under way."""

import hashlib
from typing import TypeVar
from uuid import UUID

from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_safe

from orders import live, services
from orders.errors import CannotBeCancelled
from orders.models import Order, OrderStep
from orders.presentation import Bill, money, progress_of
from orders.rules import COUNTRIES
from orders.views import page

Answer = TypeVar("Answer", bound=HttpResponseBase)

_PRIVATE = {"Cache-Control": "no-store", "X-Robots-Tag": "noindex", "Referrer-Policy": "no-referrer"}
"""The address is the only key to the page: it must not be kept, listed or passed on."""


@require_safe
def order(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Three statements: the order, its lines, its steps."""
    found = _found(order_id)
    version, html, is_finished = _rendered(found)
    context = {
        "order": found,
        "country": dict(COUNTRIES).get(found.country, found.country),
        "bill": Bill.of_order(found, found.lines.order_by("id")),
        "progress_html": html,
        "version": version,
        "is_finished": is_finished,
        "address": request.build_absolute_uri(reverse("orders:order", args=[order_id])),
    }
    return _private(page(request, "orders/order.html", context))


@require_http_methods(["GET", "HEAD", "POST"])
def cancel(request: HttpRequest, order_id: UUID) -> HttpResponseBase:
    """Asks the customer of a confirmed order whether it is really to be cancelled, and has it cancelled."""
    found = _found(order_id)
    problem = ""
    if request.method == "POST":
        try:
            services.request_cancellation(order_id)
        except CannotBeCancelled as error:
            problem = str(error)
        else:
            return _private(HttpResponseRedirect(reverse("orders:order", args=[order_id])))
    elif not found.can_be_cancelled:
        return _private(HttpResponseRedirect(reverse("orders:order", args=[order_id])))
    context = {
        "order": found,
        "bill": Bill.of_order(found, found.lines.order_by("id")),
        "total": money(found.total_amount, found.currency),
        "problem": problem,
    }
    response = _private(page(request, "orders/cancel.html", context, status=409 if problem else 200))
    # A form's origin is told only where its page may be told: to ourselves, and to nobody else.
    response["Referrer-Policy"] = "same-origin"
    return response


@require_safe
def progress(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """The part of the page that changes; 204 where the reader has seen it (`seen`)."""
    version, html, _ = _rendered(_found(order_id))
    if request.GET.get("seen") == version:
        return _private(HttpResponse(status=204))
    return _private(HttpResponse(html, headers={"Progress-Version": version}))


@require_GET
def events(request: HttpRequest, order_id: UUID) -> HttpResponseBase:
    """Server-sent events: `progress` with the part of the page that changes, its version as the id."""
    _found(order_id)
    seen = request.headers.get("Last-Event-ID") or request.GET.get("seen", "")
    try:
        stream = live.Stream(
            str(order_id), read=lambda: _rendered(_found(order_id)), seen=seen, listener=live.listener
        )
    except live.TooManyStreams:
        return _private(
            HttpResponse(
                "Too many pages are watching their orders here. Ask for the progress now and then instead.",
                status=503,
                headers={"Retry-After": "3"},
                content_type="text/plain",
            )
        )
    response = StreamingHttpResponse(stream, content_type="text/event-stream")
    response["X-Accel-Buffering"] = "no"
    return _private(response)


def _found(order_id: UUID) -> Order:
    order = Order.objects.filter(id=order_id).first()
    if order is None:
        raise Http404(f"There is no order {order_id}.")
    return order


def _rendered(order: Order) -> tuple[str, str, bool]:
    """The version of the changing part, its HTML, and whether it is the last one.

    The version is a digest of what is shown, so it changes exactly when the page would.
    """
    current = progress_of(order, OrderStep.objects.filter(order_id=order.id))
    html = render_to_string("orders/_progress.html", {"progress": current, "order": order})
    return hashlib.sha256(html.encode()).hexdigest()[:16], html, current.is_finished


def _private(response: Answer) -> Answer:
    for name, value in _PRIVATE.items():
        response[name] = value
    return response
