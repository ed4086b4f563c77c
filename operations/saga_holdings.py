"""What each service holds for the order of a saga: its own row, and what became of the commands that it was sent."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings
from django.contrib.admin import site
from django.db import Error, connections
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from billing.models import Payment
from deadletters.admin.operator import forbidden, said
from eventstore.admin_columns import moment, money, page_for
from inventory.models import Reservation, StockItem
from messaging.idempotency import saga_key
from messaging.models import FailedAttempt, IdempotencyKey
from orders.models import Order
from sagas.models import MessageRecord, SagaRecord, StepRecord
from shipping.models import Shipment

VIEW = "sagas.view_sagarecord"


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A command that the saga has sent: whether its service has handled it, how often it has failed, and in which
    trace (W3C) its answer is."""

    type: str
    step: str
    sent: str
    key: str
    failures: int
    last_error: str
    attempts: str
    trace: str


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """What one service has. `problem` says where it could not be asked."""

    service: str
    rows: list[tuple[str, str]] = []
    commands: list[Command] = []
    problem: str = ""


def page(request: HttpRequest, saga_id: UUID) -> HttpResponse:
    """A page with a section for each service that the saga has sent something to, and for the order's own rows."""
    if not request.user.has_perm(VIEW):
        return forbidden(request, VIEW, to="see sagas")
    saga = SagaRecord.objects.defer("data").filter(id=saga_id).first()
    if saga is None:
        return said(request, f"There is no saga {saga_id}.", title="No such saga", status=404)
    context = {
        **site.each_context(request),
        "title": f"What each service holds for {saga}",
        "saga": saga,
        "holdings": (holdings := list(_holdings(saga, user=request.user))),
        "trace": next((command.trace for held in holdings for command in held.commands if command.trace), ""),
    }
    return TemplateResponse(request, "admin/sagas/holdings.html", context)


def _holdings(saga: SagaRecord, *, user: Any) -> Iterator[Holding]:
    steps = {step.name: step for step in saga.steps.all()}
    sent: dict[str, list[MessageRecord]] = {}
    for message in saga.messages.filter(direction=MessageRecord.Direction.SENT).order_by("id").defer("body"):
        sent.setdefault(message.type.split(".", 1)[0], []).append(message)
    for service in settings.SERVICES:
        told = _ROWS.get(service)
        if told is None and service not in sent:
            continue
        try:
            yield Holding(
                service=service,
                rows=list(told(saga.correlation_id, user)) if told else [],
                commands=_commands(service, sent.get(service, []), steps, user=user),
            )
        except Error as error:
            kind = type(error).__name__
            _forget(settings.SERVICES[service])
            yield Holding(
                service=service,
                problem=f"The database of {service} does not answer ({kind}). Load the page again later.",
            )


def _forget(database: str) -> None:
    """A broken connection is opened anew by the next page; `default` is this page's own."""
    if database != "default":
        connections[database].close()


def _commands(
    service: str, messages: Sequence[MessageRecord], steps: Mapping[str, StepRecord], *, user: Any
) -> list[Command]:
    """Two statements for each service."""
    names = {message.id: _key(message, steps) for message in messages}
    in_service = IdempotencyKey.objects.using(settings.SERVICES[service]).filter(consumer=service)
    found = in_service.filter(key__in=names.values())
    keys = {
        key: (state, str(traceparent or "").split("-")[1:2])
        for key, state, traceparent in found.values_list("key", "state", "reply__envelope__traceparent")
    }
    failures: dict[UUID, list[str]] = {}
    attempts = FailedAttempt.objects.using(settings.SERVICES[service]).filter(
        consumer=service, message_id__in=[message.message_id for message in messages]
    )
    for message_id, exception in attempts.order_by("attempt").values_list("message_id", "exception"):
        failures.setdefault(message_id, []).append(exception)
    return [
        Command(
            type=message.type,
            step=message.step,
            sent=moment(message.noted_at or message.at),
            key=_KEYS.get(keys.get(names[message.id], ("", []))[0], "not handled yet"),
            trace="".join(keys.get(names[message.id], ("", []))[1]),
            failures=len(failures.get(message.message_id, [])),
            last_error=failures.get(message.message_id, [""])[-1].split(":", 1)[0],
            attempts=page_for(
                user, "messaging_failedattempt", "attempts", service=service, message_id=message.message_id
            ),
        )
        for message in messages
    ]


_KEYS = {"finished": "handled", "started": "begun, and not known to have ended"}


def _key(message: MessageRecord, steps: Mapping[str, StepRecord]) -> str:
    """The idempotency key of the step's command; of a question too, for it is about that command."""
    step = steps[message.step]
    return saga_key(
        saga_id=step.key_saga_id or message.saga_id,
        step=step.name,
        step_try=step.step_try,
        is_compensation=message.type == step.compensation,
    )


def _order(order_id: str, user: Any) -> Iterator[tuple[str, str]]:
    for order in Order.objects.filter(id=order_id):
        yield (
            page_for(user, "orders_order", "order", id=order.id),
            ": ".join(filter(None, (order.get_status_display(), order.reason.replace("_", " ")))),
        )


def _reservation(order_id: str, user: Any) -> Iterator[tuple[str, str]]:
    for reservation in Reservation.objects.filter(order_id=order_id):
        goods = ", ".join(f"{line['quantity']} × {line['sku']}" for line in reservation.lines)
        link = page_for(user, "inventory_reservation", "reservation", order_id=order_id)
        yield link, f"{reservation.get_state_display()}: {goods or 'nothing'}"
        for item in StockItem.objects.filter(sku__in=[line["sku"] for line in reservation.lines]).order_by(
            "sku"
        ):
            yield (
                page_for(user, "inventory_stockitem", f"stock of {item.sku}", sku=item.sku),
                f"{item.on_hand:,} on hand, {item.reserved:,} reserved, {item.sold:,} sold",
            )


def _payment(order_id: str, user: Any) -> Iterator[tuple[str, str]]:
    for payment in Payment.objects.filter(order_id=order_id):
        link = page_for(user, "billing_payment", "payment", order_id=order_id)
        yield link, f"{payment.get_state_display()}: {money(payment.amount, payment.currency)}"


def _shipment(order_id: str, user: Any) -> Iterator[tuple[str, str]]:
    for shipment in Shipment.objects.filter(order_id=order_id):
        link = page_for(user, "shipping_shipment", "shipment", order_id=order_id)
        yield link, ": ".join(filter(None, (shipment.get_state_display(), shipment.tracking)))


_ROWS = {"orders": _order, "inventory": _reservation, "billing": _payment, "shipping": _shipment}
"""What is the order's own, by service: a link and its state in words."""
