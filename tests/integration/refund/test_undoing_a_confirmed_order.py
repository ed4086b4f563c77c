"""What shipping, inventory and the e-mails do for a confirmed order that is cancelled: each once, or not at all."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from django.core import mail

from contracts import reasons
from contracts.inventory import ReleaseStock, RestockGoods
from contracts.message import Message
from contracts.orders import CancellationRefused
from contracts.shipping import BookShipment, CancelShipment, RecallShipment
from contracts.values import Address
from inventory.models import Reservation, StockItem
from inventory.services import receive
from messaging.batching import consume_all
from messaging.metrics import Outcome
from messaging.settlement import Rejected
from notifications.models import Notification
from shipping import handlers as shipping_handlers
from shipping.carrier import DemonstrationCarrier, Left
from shipping.models import Shipment
from tests.at_once import at_once
from tests.builders import (
    ADA,
    LONDON,
    NOON,
    TWO_MUGS,
    Replies,
    a_delivery,
    a_step_key,
    an_envelope,
    reserve_stock,
)

pytestmark = pytest.mark.usefixtures("committed")
Deliver = Callable[..., None]


@pytest.fixture
def order_id() -> UUID:
    return uuid4()


def an_article() -> str:
    name = f"article-{uuid4().hex[:10]}"
    receive(name, 100)
    return name


def stock(sku: str) -> tuple[int, int, int]:
    """On hand, reserved, sold."""
    return StockItem.objects.values_list("on_hand", "reserved", "sold").get(sku=sku)


def sell(deliver: Deliver, order_id: UUID, sku: str) -> None:
    deliver("inventory", reserve_stock(order_id, sku=sku))
    deliver("inventory", Replies(order_id).confirmed)


def book(deliver: Deliver, order_id: UUID, address: Address = LONDON) -> None:
    deliver("shipping", BookShipment(order_id=order_id, ship_to=address, lines=TWO_MUGS))


def to_99999() -> Address:
    return Address(name="Ada", line1="Main Street 1", city="Berlin", postcode="99999", country="DE")


class TestRecalling:
    def test_a_booked_parcel_is_stopped_and_a_repetition_is_answered_alike(
        self, deliver, bookkeeping, order_id, monkeypatch
    ):
        asked: list[str] = []
        carrier = DemonstrationCarrier()
        recall = carrier.recall
        monkeypatch.setattr(
            carrier, "recall", lambda **request: (asked.append(request["key"]), recall(**request))[1]
        )
        monkeypatch.setattr(shipping_handlers, "carrier", carrier)
        book(deliver, order_id)
        key = a_step_key("recall")

        for _ in range(3):
            deliver("shipping", RecallShipment(order_id=order_id), key=key)

        assert asked == [key], "the carrier is asked once, under the command's own key"
        assert Shipment.objects.get(order_id=order_id).state == "recalled"
        recalled = [
            row for row in bookkeeping("shipping").outgoing(order_id) if row.type.endswith("recalled.v1")
        ]
        assert len({row.message_id for row in recalled}) == 1

    def test_a_parcel_that_has_left_is_said_to_and_still_comes(self, deliver, bookkeeping, order_id):
        book(deliver, order_id, to_99999())

        deliver("shipping", RecallShipment(order_id=order_id))

        shipment = Shipment.objects.get(order_id=order_id)
        assert (shipment.state, shipment.detail) == ("left", "it left at once")
        (left,) = [row for row in bookkeeping("shipping").outgoing(order_id) if row.type.endswith("left.v1")]
        assert left.body == {
            "order_id": str(order_id),
            "reason": reasons.SHIPMENT_LEFT,
            "detail": "it left at once",
        }

    @pytest.mark.parametrize("state", ["never booked", "cancelled", "left", "recalled"])
    def test_what_is_not_booked_is_not_asked_for(self, deliver, bookkeeping, order_id, state, monkeypatch):
        if state != "never booked":
            book(deliver, order_id, to_99999() if state == "left" else LONDON)
        if state == "cancelled":
            key = a_step_key("ship", is_compensation=True)
            deliver("shipping", CancelShipment(order_id=order_id), key=key)
        elif state != "never booked":
            deliver("shipping", RecallShipment(order_id=order_id))
        before = list(Shipment.objects.filter(order_id=order_id).values())

        class Untouched(DemonstrationCarrier):
            def recall(self, **request: object) -> Left:
                raise AssertionError("the carrier was asked")

        monkeypatch.setattr(shipping_handlers, "carrier", Untouched())
        command = RecallShipment(order_id=order_id)
        envelope = an_envelope(command)
        deliver("shipping", command, message_id=envelope.message_id)

        (failure,) = bookkeeping("shipping").failures(envelope.message_id)
        found = "not known here" if state == "never booked" else state
        assert failure.exception == (
            f"NoParcel: The parcel of order {order_id} is to be recalled, and is {found}."
        )
        assert list(Shipment.objects.filter(order_id=order_id).values()) == before


class TestRestocking:
    def test_sold_goods_are_for_sale_again_once_however_often_it_is_said(
        self, deliver, bookkeeping, order_id
    ):
        sku, key = an_article(), a_step_key("restock")
        sell(deliver, order_id, sku)
        assert stock(sku) == (98, 0, 2)

        for _ in range(3):
            deliver("inventory", RestockGoods(order_id=order_id), key=key)

        assert stock(sku) == (100, 0, 0)
        assert Reservation.objects.get(order_id=order_id).state == "returned"
        restocked = [
            row for row in bookkeeping("inventory").outgoing(order_id) if row.type.endswith("restocked.v1")
        ]
        assert len({row.message_id for row in restocked}) == 1

    def test_fifty_orders_in_one_batch_come_back_once_each_beside_copies_and_sales(self, deliver):
        skus = sorted(an_article() for _ in range(2))
        sold = [uuid4() for _ in range(24)]
        for number, order_id in enumerate(sold):
            sell(deliver, order_id, skus[number % 2])
        reserved = uuid4()
        deliver("inventory", reserve_stock(reserved, sku=skus[0]))
        restocks = [a_delivery(RestockGoods(order_id=order_id)) for order_id in sold]

        settled = consume_all(
            "inventory", [*restocks, *restocks[:1], a_delivery(Replies(reserved).confirmed)]
        )

        assert [one.outcome for one in settled] == [
            *[Outcome.HANDLED] * 24,
            Outcome.DUPLICATE,
            Outcome.HANDLED,
        ]
        assert [stock(sku) for sku in skus] == [(98, 0, 2), (100, 0, 0)]

    def test_batches_that_meet_in_both_orders_of_the_articles_end_without_a_deadlock(self, deliver):
        skus = [an_article() for _ in range(2)]
        sold = [uuid4() for _ in range(40)]
        for number, order_id in enumerate(sold):
            sell(deliver, order_id, skus[number % 2])
        forwards = [a_delivery(RestockGoods(order_id=order_id)) for order_id in sold[:20]]
        backwards = [a_delivery(RestockGoods(order_id=order_id)) for order_id in reversed(sold[20:])]

        settled = at_once(
            lambda: consume_all("inventory", forwards), lambda: consume_all("inventory", backwards)
        )

        assert {one.outcome for batch in settled for one in batch} == {Outcome.HANDLED}
        assert [stock(sku) for sku in skus] == [(100, 0, 0)] * 2

    @pytest.mark.parametrize("known", [False, True], ids=["not reserved here yet", "reserved, not sold yet"])
    def test_goods_whose_sale_is_not_known_yet_are_waited_for(self, deliver, bookkeeping, order_id, known):
        sku = an_article()
        if known:
            deliver("inventory", reserve_stock(order_id, sku=sku))
        command = RestockGoods(order_id=order_id)
        envelope = an_envelope(command)

        deliver("inventory", command, message_id=envelope.message_id)

        (failure,) = bookkeeping("inventory").failures(envelope.message_id)
        assert failure.exception.startswith(f"NotSoldYet: The goods of order {order_id} are to come back")
        (again,) = [
            row for row in bookkeeping("inventory").outgoing(order_id) if row.type == command.wire_type
        ]
        assert again.message_id == envelope.message_id, "it waits in the outbox for its next attempt"
        if not known:
            deliver("inventory", reserve_stock(order_id, sku=sku))
        deliver("inventory", Replies(order_id).confirmed)
        deliver("inventory", command, message_id=envelope.message_id, attempt=2)
        assert stock(sku) == (100, 0, 0)

    @pytest.mark.parametrize("state", ["released", "refused", "returned"])
    def test_goods_that_cannot_be_sold_any_more_are_not_waited_for(self, deliver, order_id, state):
        sku = an_article()
        if state == "refused":
            deliver("inventory", reserve_stock(order_id, sku=sku, quantity=500))
        elif state == "released":
            deliver("inventory", reserve_stock(order_id, sku=sku))
            deliver("inventory", ReleaseStock(order_id=order_id))
        else:
            sell(deliver, order_id, sku)
            deliver("inventory", RestockGoods(order_id=order_id))

        with pytest.raises(Rejected, match=f"its reservation is {state}"):
            deliver("inventory", RestockGoods(order_id=order_id))

        assert stock(sku) == (100, 0, 0)


@pytest.mark.parametrize(
    ("message", "kind", "subject", "text"),
    [
        (
            lambda order_id: Replies(order_id).refunded,
            "refunded",
            "Your order is cancelled and paid back",
            "given 25.00 EUR back to your card",
        ),
        (
            lambda order_id: Replies(order_id).cancellation_refused,
            "refused",
            "Your order could not be cancelled",
            "because the parcel has left",
        ),
        (
            lambda order_id: CancellationRefused(
                order_id=order_id, contact=ADA, reason=reasons.CANCELLED_BY_OPERATOR, refused_at=NOON
            ),
            "refused",
            "Your order could not be cancelled",
            "you may ask for it again",
        ),
    ],
    ids=["refunded", "left", "our fault"],
)
def test_the_customer_is_told_once_how_it_ended(deliver, order_id, message, kind, subject, text):
    event: Message = message(order_id)
    envelope = an_envelope(event)

    for _ in range(2):
        deliver("notifications", event, message_id=envelope.message_id)

    (sent,) = [one for one in mail.outbox if str(order_id) in one.body]
    assert (sent.subject, sent.to) == (subject, [ADA.email])
    assert text in " ".join(sent.body.split())
    assert "left" not in sent.body or kind == "refused"
    assert list(Notification.objects.filter(order_id=order_id).values_list("kind", flat=True)) == [kind]
