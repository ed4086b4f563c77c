"""Letters of every kind of message, and all that a dry run must leave as it was."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn
from uuid import uuid4

import msgspec
from django.conf import settings
from django.db import connections

from contracts import reasons
from contracts.billing import FindAuthorization, FindCapture, RefundPayment, VoidPayment
from contracts.inventory import ReleaseStock, RestockGoods
from contracts.message import Message
from contracts.operations import (
    AdvanceLetterJob,
    LapsePauseSwitch,
    NoteClosedBreaker,
    NoteOpenBreaker,
    ReplaySucceeded,
)
from contracts.orders import CancelOrder, ConfirmOrder, RefundOrder, RefuseCancellation
from contracts.shipping import BookShipment, CancelShipment, RecallShipment
from deadletters.collecting.failures import Failures
from deadletters.collecting.reading import Received, read
from deadletters.collecting.storing import store
from deadletters.models import DeadLetter
from messaging.consumer import consume
from messaging.envelope import Envelope, new_message_id, utc_now
from messaging.models import IdempotencyKey
from orders.services import place_order, request_cancellation
from tests.builders import (
    EUR_25,
    LONDON,
    NOON,
    TWO_MUGS,
    Replies,
    a_delivery,
    a_step_key,
    an_envelope,
    an_order_request,
    authorize_payment,
    capture_payment,
    reserve_stock,
)


def a_letter(
    service: str,
    message: Message | None = None,
    *,
    envelope: Envelope | None = None,
    body: bytes | None = None,
    headers: dict[str, Any] | None = None,
    **more: Any,
) -> DeadLetter:
    """A letter of this message as the collector stores it; `body` and `headers` replace the message's own."""
    if message is not None:
        envelope = envelope or an_envelope(message, **{"occurred_at": utc_now(), **more})
        body = body if body is not None else json.dumps([[message.to_payload()], {}, {}]).encode()
        headers = headers if headers is not None else envelope.to_headers()
    deaths = [{"reason": "rejected", "queue": service, "exchange": "commands", "routing-keys": [service]}]
    received = Received(
        service=service,
        properties={
            "application_headers": {"x-death": deaths, "x-mark": uuid4().hex, **(headers or {})},
            "content_type": "application/json",
        },
        body=body or b"",
    )
    letter = read(received, letter_id=new_message_id(), now=utc_now())
    assert store([letter], failures=Failures()).letters == [letter.id]
    return DeadLetter.objects.get(id=letter.id)


def everything() -> dict[tuple[str, str], str]:
    """A digest of every row of every table of every database; what a sequence has given out does not count."""
    found = {}
    for alias in sorted(set(settings.SERVICES.values())):
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
            for (table,) in cursor.fetchall():
                cursor.execute(
                    f"SELECT md5(string_agg(row::text, '|' ORDER BY row::text)) FROM {table} AS row"
                )
                found[alias, table] = cursor.fetchone()[0]
    return found


@contextmanager
def nothing_happens(monkeypatch: Any) -> Iterator[None]:
    """Inside, no socket is opened; afterwards every table of every database is as it was."""

    def refuse(*args: Any, **more: Any) -> NoReturn:
        raise AssertionError("something tried to open a socket")

    before = everything()
    for alias in sorted(set(settings.SERVICES.values())):
        connections[alias].ensure_connection()
    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", refuse)
        patched.setattr(socket, "create_connection", refuse)
        yield
    assert everything() == before
    for alias in connections:
        assert not connections[alias].in_atomic_block
        assert connections[alias].execute_wrappers == []


class Story:
    """An order as far as a message of it needs it: what came before has been handled by the services."""

    def __init__(self) -> None:
        self.order_id = place_order(an_order_request(), checkout_key=uuid4().hex).order_id
        self.saga_id = uuid4()
        self.replies = Replies(self.order_id)

    def key(self, step: str, *, undo: bool = False) -> str:
        return a_step_key(step, saga_id=self.saga_id, is_compensation=undo)

    def hand(self, service: str, message: Message, *, key: str | None = None) -> None:
        """Let the service handle the message, as its worker does."""
        consume(service, a_delivery(message, an_envelope(message, key=key)))

    def reserved(self) -> None:
        self.hand("inventory", reserve_stock(self.order_id), key=self.key("reserve"))

    def authorized(self) -> None:
        self.hand("billing", authorize_payment(self.order_id), key=self.key("authorize"))

    def broke_off(self, step: str) -> None:
        """Billing has begun to ask the gateway for this step, and its process is long dead."""
        IdempotencyKey.objects.using(settings.SERVICES["billing"]).create(
            consumer="billing",
            key=self.key(step),
            state="started",
            message_id=new_message_id(),
            type="billing.authorize_payment.v1",
            fence=1,
            lease_until=NOON,
            claimed_at=NOON,
        )

    def captured(self) -> None:
        self.authorized()
        self.hand("billing", capture_payment(self.order_id), key=self.key("capture"))

    def booked(self) -> None:
        self.hand("shipping", self.shipment(), key=self.key("ship"))

    def sold(self) -> None:
        self.reserved()
        self.hand("inventory", self.replies.confirmed)

    def being_cancelled(self) -> None:
        self.hand("orders", ConfirmOrder(order_id=self.order_id))
        request_cancellation(self.order_id)

    def shipment(self) -> BookShipment:
        return BookShipment(order_id=self.order_id, ship_to=LONDON, lines=TWO_MUGS)


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of message at one service: how to come to its letter, and what a dry run of that has to tell."""

    service: str
    message: Callable[[Story], Message]
    before: Callable[[Story], None] = lambda story: None
    key: Callable[[Story], str | None] = lambda story: None
    tells: tuple[str, ...] = ()
    asks: str = ""
    writes: tuple[str, ...] = ()

    def letter(self) -> DeadLetter:
        story = Story()
        self.before(story)
        return a_letter(self.service, self.message(story), key=self.key(story))


def _key(step: str, *, undo: bool = False) -> Callable[[Story], str]:
    return lambda story: story.key(step, undo=undo)


KINDS = {
    "reserve stock": Kind(
        service="inventory",
        message=lambda story: reserve_stock(story.order_id),
        key=_key("reserve"),
        tells=("inventory.stock_reserved.v1",),
        writes=("inventory_reservation", "inventory_stockitem"),
    ),
    "release stock": Kind(
        service="inventory",
        before=Story.reserved,
        message=lambda story: ReleaseStock(order_id=story.order_id),
        key=_key("reserve", undo=True),
        tells=("inventory.stock_released.v1",),
        writes=("inventory_reservation", "inventory_stockitem"),
    ),
    "sell reserved stock": Kind(
        service="inventory",
        before=Story.reserved,
        message=lambda story: story.replies.confirmed,
        tells=("inventory.stock_sold.v1",),
        writes=("inventory_reservation", "inventory_stockitem"),
    ),
    "authorize": Kind(
        service="billing",
        message=lambda story: authorize_payment(story.order_id),
        key=_key("authorize"),
        tells=("billing.payment_authorized.v1",),
        asks="payment gateway",
        writes=("billing_payment",),
    ),
    "capture": Kind(
        service="billing",
        before=Story.authorized,
        message=lambda story: capture_payment(story.order_id),
        key=_key("capture"),
        tells=("billing.payment_captured.v1",),
        asks="payment gateway",
        writes=("billing_payment",),
    ),
    "void": Kind(
        service="billing",
        before=Story.authorized,
        message=lambda story: VoidPayment(order_id=story.order_id),
        key=_key("authorize", undo=True),
        tells=("billing.payment_voided.v1",),
        asks="payment gateway",
        writes=("billing_payment",),
    ),
    "refund": Kind(
        service="billing",
        before=Story.captured,
        message=lambda story: RefundPayment(order_id=story.order_id),
        tells=("billing.payment_refunded.v1",),
        asks="payment gateway",
        writes=("billing_payment",),
    ),
    "find an authorization": Kind(
        service="billing",
        message=lambda story: FindAuthorization(order_id=story.order_id, total=EUR_25),
        key=lambda story: story.key("authorize").replace("action", "question:1"),
        tells=("billing.authorization_not_found.v1",),
    ),
    "find what broke off": Kind(
        service="billing",
        before=lambda story: story.broke_off("authorize"),
        message=lambda story: FindAuthorization(order_id=story.order_id, total=EUR_25),
        key=lambda story: story.key("authorize").replace("action", "question:1"),
        tells=("billing.authorization_not_found.v1",),
        asks="payment gateway",
    ),
    "find what was done": Kind(
        service="billing",
        before=Story.authorized,
        message=lambda story: FindAuthorization(order_id=story.order_id, total=EUR_25),
        key=lambda story: story.key("authorize").replace("action", "question:1"),
        tells=("billing.payment_authorized.v1",),
    ),
    "find a capture": Kind(
        service="billing",
        message=lambda story: FindCapture(order_id=story.order_id),
        key=lambda story: story.key("capture").replace("action", "question:1"),
        tells=("billing.capture_not_found.v1",),
    ),
    "ship": Kind(
        service="shipping",
        message=Story.shipment,
        key=_key("ship"),
        tells=("shipping.shipment_booked.v1",),
        asks="carrier",
        writes=("shipping_shipment",),
    ),
    "cancel a shipment": Kind(
        service="shipping",
        before=Story.booked,
        message=lambda story: CancelShipment(order_id=story.order_id),
        key=_key("ship", undo=True),
        tells=("shipping.shipment_cancelled.v1",),
        asks="carrier",
        writes=("shipping_shipment",),
    ),
    "confirm": Kind(
        service="orders",
        message=lambda story: ConfirmOrder(order_id=story.order_id),
        key=_key("confirm"),
        tells=("orders.order_confirmed.v1",),
        writes=("orders_order",),
    ),
    "cancel": Kind(
        service="orders",
        message=lambda story: CancelOrder(order_id=story.order_id, reason=reasons.CARD_DECLINED),
        key=_key("place", undo=True),
        tells=("orders.order_cancelled.v1",),
        writes=("orders_order",),
    ),
    "e-mail of confirmation": Kind(
        service="notifications",
        message=lambda story: story.replies.confirmed,
        asks="mail server",
        writes=("notifications_notification",),
    ),
    "e-mail of cancellation": Kind(
        service="notifications",
        message=lambda story: story.replies.cancelled,
        asks="mail server",
        writes=("notifications_notification",),
    ),
    "recall a shipment": Kind(
        service="shipping",
        before=Story.booked,
        message=lambda story: RecallShipment(order_id=story.order_id),
        tells=("shipping.shipment_recalled.v1",),
        asks="carrier",
        writes=("shipping_shipment",),
    ),
    "restock": Kind(
        service="inventory",
        before=Story.sold,
        message=lambda story: RestockGoods(order_id=story.order_id),
        tells=("inventory.goods_restocked.v1",),
        writes=("inventory_reservation", "inventory_stockitem"),
    ),
    "refund an order": Kind(
        service="orders",
        before=Story.being_cancelled,
        message=lambda story: RefundOrder(order_id=story.order_id),
        tells=("orders.order_refunded.v1",),
        writes=("orders_order",),
    ),
    "refuse a cancellation": Kind(
        service="orders",
        before=Story.being_cancelled,
        message=lambda story: RefuseCancellation(order_id=story.order_id, reason=reasons.SHIPMENT_LEFT),
        tells=("orders.cancellation_refused.v1",),
        writes=("orders_order",),
    ),
    "e-mail of refund": Kind(
        service="notifications",
        message=lambda story: story.replies.refunded,
        asks="mail server",
        writes=("notifications_notification",),
    ),
    "e-mail of refusal": Kind(
        service="notifications",
        message=lambda story: story.replies.cancellation_refused,
        asks="mail server",
        writes=("notifications_notification",),
    ),
    "open breaker": Kind(
        service="operations",
        message=lambda story: NoteOpenBreaker(
            service="notifications", gateway="mail server", at=utc_now(), until=utc_now()
        ),
    ),
    "closed breaker": Kind(
        service="operations",
        message=lambda story: NoteClosedBreaker(service="notifications", gateway="mail server", at=utc_now()),
    ),
    "lapse of a switch": Kind(
        service="operations",
        message=lambda story: LapsePauseSwitch(switch_id=uuid4()),
    ),
    "step of a bulk job": Kind(
        service="operations",
        message=lambda story: AdvanceLetterJob(job_id=uuid4()),
    ),
    "end of a replay": Kind(
        service="operations",
        message=lambda story: ReplaySucceeded(replay_id=uuid4(), message_id=uuid4()),
    ),
}
_PROGRESS = (
    *("reserved", "unavailable", "released", "authorized", "declined", "voided"),
    *("booked", "undeliverable", "shipment_cancelled", "captured", "capture_refused"),
    *("recalled", "left", "payment_refunded", "restocked"),
)
KINDS |= {
    f"progress: {name}": Kind(
        service="orders",
        message=lambda story, name=name: getattr(story.replies, name),
        writes=("orders_orderstep",),
    )
    for name in _PROGRESS
}
