"""Placing many orders and seeing what becomes of them."""

import time
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import TypeVar
from uuid import UUID, uuid4

import msgspec
from django.conf import settings
from django.db import DatabaseError

from messaging.database import is_away, wait_until_back
from operations.mix import Wanted
from orders.errors import CannotBeCancelled
from orders.models import Order
from orders.services import SERVICE, place_order, request_cancellation

Done = TypeVar("Done")


class Summary(msgspec.Struct, kw_only=True):
    """What became of the orders; latencies are seconds from placed to finished, of those not refunded afterwards."""

    placed: int
    confirmed: int
    cancelled: int
    refunded: int
    unfinished: int
    expected_confirmed: int | None
    expected_cancelled: int | None
    expected_refunded: int | None
    otherwise: list[str]
    seconds: float
    orders_per_second: float
    p50: float | None
    p95: float | None
    p99: float | None


def place(
    wanted: Iterable[Wanted], *, rate: float | None, tick: Callable[[], None]
) -> dict[UUID, str | None]:
    """Place the orders, at most `rate` a second; returns how each must end.

    Each has a checkout key of its own, so that one whose outcome was lost is placed again and not twice.
    """
    begun = time.monotonic()
    ends: dict[UUID, str | None] = {}
    for number, order in enumerate(wanted):
        if rate:
            time.sleep(max(0.0, begun + number / rate - time.monotonic()))
        key = f"command-{uuid4()}"
        placed = patiently(partial(place_order, order.request, checkout_key=key))
        ends[placed.order_id] = order.ends
        tick()
    return ends


def patiently(act: Callable[[], Done]) -> Done:
    """What `act` returns. It is repeated while the orders database is away, so a repetition must be harmless."""
    while True:
        try:
            return act()
        except DatabaseError as error:
            if not is_away(error, database=settings.SERVICES[SERVICE]):
                raise
            wait_until_back(settings.SERVICES[SERVICE])


def ended_among(order_ids: Iterable[UUID], ends: dict[UUID, str | None]) -> set[UUID]:
    """Those that have ended. What is confirmed and must end refunded is cancelled now, as by its customer."""
    ended = set()
    for order_id, (status, _, _) in finished_among(list(order_ids)).items():
        if status == Order.Status.CONFIRMED and ends[order_id] == Order.Status.REFUNDED:
            try:
                request_cancellation(order_id)
                continue
            except CannotBeCancelled:
                pass  # its parcel has left: it has ended otherwise than it must, and the summary says so
        ended.add(order_id)
    return ended


def finished_among(order_ids: list[UUID]) -> dict[UUID, tuple[str, datetime, datetime]]:
    """Status, and when placed and finished, of those that are finished and not being cancelled."""
    rows = Order.objects.filter(id__in=order_ids).exclude(
        status__in=[Order.Status.PENDING, Order.Status.CANCELLING]
    )
    return {
        order_id: (status, placed_at, finished_at)
        for order_id, status, placed_at, finished_at in rows.values_list(
            "id", "status", "placed_at", "finished_at"
        )
        if finished_at is not None
    }


def sum_up(ends: dict[UUID, str | None], *, seconds: float) -> Summary:
    """Count and time the orders; `otherwise` names those that ended in another way than they must."""
    finished = finished_among(list(ends))
    latencies = sorted(
        (done - placed).total_seconds()
        for status, placed, done in finished.values()
        if status != Order.Status.REFUNDED
    )
    statuses = [status for status, _, _ in finished.values()]
    is_known = all(end is not None for end in ends.values())
    first = min((placed for _, placed, _ in finished.values()), default=None)
    last = max((done for _, _, done in finished.values()), default=None)
    span = (last - first).total_seconds() if first and last else 0.0
    return Summary(
        placed=len(ends),
        confirmed=statuses.count("confirmed"),
        cancelled=statuses.count("cancelled"),
        refunded=statuses.count("refunded"),
        unfinished=len(ends) - len(finished),
        expected_confirmed=list(ends.values()).count("confirmed") if is_known else None,
        expected_cancelled=list(ends.values()).count("cancelled") if is_known else None,
        expected_refunded=list(ends.values()).count("refunded") if is_known else None,
        otherwise=[
            str(order_id)
            for order_id, (status, _, _) in finished.items()
            if ends[order_id] not in (None, status)
        ],
        seconds=round(seconds, 3),
        orders_per_second=round(len(finished) / span, 1) if span else 0.0,
        p50=_percentile(latencies, 0.50),
        p95=_percentile(latencies, 0.95),
        p99=_percentile(latencies, 0.99),
    )


def _percentile(ordered: list[float], share: float) -> float | None:
    if not ordered:
        return None
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)
