"""Orders in JSON, once for each Idempotency-Key.

After the IETF draft "The Idempotency-Key HTTP Header Field" (draft-ietf-httpapi-idempotency-key-header) and
RFC 9457 (problem details). A request that is refused as such (400, 413, 415) was never begun: nothing is kept
for its key, so it can be mended and sent again under the same one. What was begun is answered for ever.
"""

import hashlib
import math
from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

import msgspec
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from orders.api_body import Problem, read_order
from orders.api_requests import Answered, InFlight, Lease, begin
from orders.errors import CannotBeCancelled, CheckoutKeyReused, InvalidOrder
from orders.models import Order, OrderStep
from orders.presentation import facts_of
from orders.services import OrderRequest, place_order, request_cancellation

LONGEST_KEY = 200
View = Callable[..., HttpResponse]


def _answering(*methods: str) -> Callable[[View], View]:
    """Problems become answers; other methods are refused."""

    def decorate(view: View) -> View:
        @wraps(view)
        def answer(request: HttpRequest, *args: Any, **arguments: Any) -> HttpResponse:
            try:
                if request.method not in methods:
                    raise Problem(
                        405,
                        "wrong-method",
                        f"This address takes {' and '.join(methods)}, not {request.method}.",
                        headers={"Allow": ", ".join(methods)},
                    )
                return view(request, *args, **arguments)
            except Problem as problem:
                return _json(
                    problem.document(),
                    problem.status,
                    problem.headers,
                    content_type="application/problem+json",
                )

        return csrf_exempt(answer)

    return decorate


@_answering("POST")
def orders(request: HttpRequest) -> HttpResponse:
    """Place an order: 202 with its id and address, the same however often the request comes."""
    key = _idempotency_key(request)
    order_request = read_order(request)
    client = _client(request)
    match begin(client=client, key=key, contents=msgspec.to_builtins(order_request), now=timezone.now()):
        case Answered(differing=[*fields]) if fields:
            raise _key_reused(fields)
        case Answered(status=status, response=response):
            return _json(response, status, {"Idempotent-Replayed": "true"})
        case InFlight(until=until):
            seconds = max(1, math.ceil((until - timezone.now()).total_seconds()))
            raise Problem(
                409,
                "request-in-flight",
                "A request with this Idempotency-Key is in flight. Repeat it after the time in Retry-After.",
                headers={"Retry-After": str(seconds)},
            )
        case Lease() as lease:
            return _placed(request, order_request, lease, client=client, key=key)


def _placed(
    request: HttpRequest, order_request: OrderRequest, lease: Lease, *, client: str, key: str
) -> HttpResponse:
    # The checkout's key comes from the request's: where a process died between the order and its answer, the
    # next one to hold the lease finds that order instead of making another.
    checkout_key = "api:" + hashlib.sha256(f"{client}:{key}".encode()).hexdigest()
    try:
        placed = place_order(order_request, checkout_key=checkout_key)
    except InvalidOrder as error:
        lease.give_up()
        raise Problem(400, "invalid-order", str(error), field=error.field) from error
    except CheckoutKeyReused as error:
        raise _key_reused(error.fields) from error
    response = {
        "order_id": str(placed.order_id),
        "status": "pending",
        "url": request.build_absolute_uri(reverse("orders:order", args=[placed.order_id])),
    }
    lease.answer(status=202, response=response)
    return _json(response, 202, {"Location": reverse("orders:api_order", args=[placed.order_id])})


@_answering("GET", "HEAD")
def order(request: HttpRequest, order_id: str) -> HttpResponse:
    """How far an order has come. Its id is the permission to ask."""
    found = None
    try:
        found = Order.objects.filter(id=UUID(order_id)).first()
    except ValueError as error:
        raise _unknown_order(order_id) from error
    if found is None:
        raise _unknown_order(order_id)
    steps = facts_of(found, OrderStep.objects.filter(order_id=found.id))
    return _json(
        {
            "order_id": str(found.id),
            "status": found.status,
            "reason": found.reason or None,
            "total": {"amount": found.total_amount, "currency": found.currency},
            "steps": [{"name": step.name, "state": step.state, "at": _time(step.at)} for step in steps],
        },
        200,
    )


@_answering("POST")
def cancellation(request: HttpRequest, order_id: str) -> HttpResponse:
    """Have a confirmed order cancelled: 202, also where that was asked before; its progress tells how it ends.

    Its id is the permission. Nothing needs to be sent: a repetition begins nothing new.
    """
    try:
        wanted = UUID(order_id)
        request_cancellation(wanted)
    except (ValueError, Order.DoesNotExist) as error:
        raise _unknown_order(order_id) from error
    except CannotBeCancelled as error:
        raise Problem(409, "cannot-be-cancelled", str(error)) from error
    status = Order.objects.values_list("status", flat=True).get(id=wanted)
    return _json(
        {"order_id": str(wanted), "status": status},
        202,
        {"Location": reverse("orders:api_order", args=[wanted])},
    )


@_answering("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
def unknown_address(request: HttpRequest) -> HttpResponse:
    raise Problem(404, "unknown-address", f"There is nothing at {request.path}. Orders are at /api/orders.")


def _idempotency_key(request: HttpRequest) -> str:
    """The header's value, with or without the quotes that a structured field has."""
    header = request.headers.get("Idempotency-Key", "").strip()
    key = header[1:-1] if len(header) >= 2 and header[0] == header[-1] == '"' else header
    if not key:
        raise Problem(
            400,
            "idempotency-key-missing",
            "Send an Idempotency-Key header: a value of your own, such as a UUID, that names this order.",
            field="Idempotency-Key",
        )
    if len(key) > LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise Problem(
            400,
            "idempotency-key-invalid",
            f"The Idempotency-Key must be 1 to {LONGEST_KEY} printable ASCII characters.",
            field="Idempotency-Key",
        )
    return key


def _client(request: HttpRequest) -> str:
    """Who asks, as far as this shop can tell: keys of different clients never meet. Only a hash is kept."""
    authorization = request.headers.get("Authorization")
    who = (
        f"authorization:{authorization}"
        if authorization
        else f"address:{request.META.get('REMOTE_ADDR', '')}"
    )
    return hashlib.sha256(who.encode()).hexdigest()


def _key_reused(fields: list[str]) -> Problem:
    # The parcel's name is the customer's, which the body has once.
    fields = [field for field in fields if field != "ship_to.name"]
    return Problem(
        422,
        "idempotency-key-reused",
        f"This Idempotency-Key came before with other contents: {', '.join(fields)} differ. "
        "Use a new key for another order.",
        fields=fields,
    )


def _unknown_order(order_id: str) -> Problem:
    return Problem(404, "unknown-order", "There is no order with this id.", field="order_id")


def _time(at: Any) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def _json(
    document: Any, status: int, headers: dict[str, str] | None = None, content_type: str = "application/json"
) -> HttpResponse:
    response = HttpResponse(msgspec.json.encode(document), status=status, content_type=content_type)
    response["Cache-Control"] = "no-store"
    for name, value in (headers or {}).items():
        response[name] = value
    return response
