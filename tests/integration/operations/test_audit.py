"""The audit finds each kind of damage, names the order, and is silent about a shop that is whole."""

import io
import json
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command

from billing.gateway import BookEntry
from billing.models import Payment
from deadletters.tallies import open_by_service
from inventory.models import Reservation, StockItem
from operations import audit as audits
from orders.models import Order
from orders.services import place_order
from sagas.models import SagaRecord, StepRecord, sagas_for_a_person
from shipping.models import Shipment
from tests.builders import NOON, an_order_request
from tests.integration.admin.records import record_letter

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("broker")]
MUG = 1250


class Shop:
    """A shop whose records a test damages. `books` are the gateway's."""

    def __init__(self) -> None:
        self.books: list[BookEntry] = []

    def an_order(self, status: str) -> UUID:
        """An order whose records are as they must be in that state, in every service."""
        order_id = place_order(an_order_request(), checkout_key=str(uuid4())).order_id
        is_confirmed = status == "confirmed"
        is_refunded = status == "refunded"
        SagaRecord.objects.create(
            id=uuid4(),
            name="checkout",
            version=1,
            business_key=str(order_id),
            correlation_id=str(order_id),
            status={"pending": "running", "cancelled": "cancelled"}.get(status, "completed"),
            data={},
            started_at=NOON,
            finished_at=None if status == "pending" else NOON,
        )
        if status == "pending":
            return order_id
        if is_refunded:
            self._a_refund(order_id, status="completed")
        Order.objects.filter(id=order_id).update(
            status=status, finished_at=NOON, reason="undeliverable" if status == "cancelled" else ""
        )
        Payment.objects.create(
            order_id=order_id,
            version=1,
            state="captured" if is_confirmed else "refunded" if is_refunded else "voided",
            amount=MUG,
            currency="EUR",
            authorization="auth",
            changed_at=NOON,
        )
        self.book(order_id, status="voided" if status == "cancelled" else "captured", is_refunded=is_refunded)
        stock = StockItem.objects.get(sku="mug")
        if is_confirmed:
            stock.on_hand, stock.sold = stock.on_hand - 1, stock.sold + 1
            stock.save()
        Reservation.objects.create(
            order_id=order_id,
            version=2,
            state="sold" if is_confirmed else "returned" if is_refunded else "released",
            lines=[{"sku": "mug", "quantity": 1}],
            changed_at=NOON,
        )
        Shipment.objects.create(
            order_id=order_id,
            version=1,
            state="booked" if is_confirmed else "recalled" if is_refunded else "cancelled",
            tracking="MG1",
            changed_at=NOON,
        )
        return order_id

    def being_cancelled(self) -> UUID:
        """An order that is confirmed, and whose customer has just asked for it to be cancelled."""
        order_id = self.an_order("confirmed")
        self._a_refund(order_id, status="running")
        Order.objects.filter(id=order_id).update(status="cancelling")
        return order_id

    def _a_refund(self, order_id: UUID, *, status: str) -> None:
        SagaRecord.objects.create(
            id=uuid4(),
            name="refund",
            version=1,
            business_key=str(uuid4()),
            correlation_id=str(order_id),
            status=status,
            data={},
            started_at=NOON,
            finished_at=None if status == "running" else NOON,
        )

    def book(self, order_id: UUID, *, status: str, is_refunded: bool = False) -> None:
        captured = MUG if status == "captured" else 0
        self.books.append(
            BookEntry(
                id=f"auth_{len(self.books)}",
                reference=str(order_id),
                status=status,
                authorized=MUG,
                captured=captured,
                refunded=captured if is_refunded else 0,
                currency="EUR",
            )
        )


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    shop = Shop()
    monkeypatch.setattr(audits, "books", lambda url: iter(shop.books))
    return shop


@pytest.mark.parametrize("status", ["pending", "confirmed", "cancelled", "refunded"])
def test_a_shop_that_is_whole_has_no_violation(shop, status):
    shop.an_order(status)

    assert audits.audit().violations == []


def test_an_order_under_cancellation_is_unfinished_whatever_of_it_is_undone_already(shop):
    order_id = shop.being_cancelled()
    Payment.objects.filter(order_id=order_id).update(state="refunded")

    report = audits.audit()

    assert report.violations == []
    assert "1 sagas are running" in report.notes


def test_an_order_whose_parcel_had_left_is_whole_and_confirmed(shop):
    order_id = shop.an_order("confirmed")
    Shipment.objects.filter(order_id=order_id).update(state="left")
    Order.objects.filter(id=order_id).update(reason="shipment_left")

    assert audits.audit().violations == []


def damage_refund_saga(shop: Shop) -> UUID:
    order_id = shop.being_cancelled()
    SagaRecord.objects.filter(correlation_id=str(order_id), name="refund").delete()
    return order_id


def damage_refund_saga_end(shop: Shop) -> UUID:
    order_id = shop.being_cancelled()
    SagaRecord.objects.filter(correlation_id=str(order_id)).update(status="completed", finished_at=NOON)
    return order_id


def damage_refunded_payment(shop: Shop) -> UUID:
    order_id = shop.an_order("refunded")
    Payment.objects.filter(order_id=order_id).update(state="captured")
    return order_id


def damage_refund_in_the_books(shop: Shop) -> UUID:
    order_id = shop.an_order("refunded")
    shop.books.pop()
    shop.book(order_id, status="captured")
    return order_id


def damage_refunded_goods(shop: Shop) -> UUID:
    order_id = shop.an_order("refunded")
    Reservation.objects.filter(order_id=order_id).update(state="sold")
    return order_id


def damage_refunded_parcel(shop: Shop) -> UUID:
    order_id = shop.an_order("refunded")
    Shipment.objects.filter(order_id=order_id).update(state="booked")
    return order_id


def damage_refunded_parcel_that_left(shop: Shop) -> UUID:
    order_id = shop.an_order("refunded")
    Shipment.objects.filter(order_id=order_id).update(state="left")
    return order_id


def damage_confirmed_parcel(shop: Shop) -> UUID:
    order_id = shop.an_order("confirmed")
    Shipment.objects.filter(order_id=order_id).update(state="recalled")
    return order_id


def damage_saga(shop: Shop) -> UUID:
    order_id = shop.an_order("pending")
    SagaRecord.objects.filter(business_key=str(order_id)).delete()
    return order_id


def damage_saga_end(shop: Shop) -> UUID:
    order_id = shop.an_order("pending")
    SagaRecord.objects.filter(business_key=str(order_id)).update(status="cancelled", finished_at=NOON)
    return order_id


def damage_payment(shop: Shop) -> UUID:
    order_id = shop.an_order("confirmed")
    Payment.objects.filter(order_id=order_id).update(state="authorized")
    return order_id


def damage_second_charge(shop: Shop) -> UUID:
    order_id = shop.an_order("confirmed")
    shop.book(order_id, status="captured")
    return order_id


def damage_books(shop: Shop) -> UUID:
    order_id = shop.an_order("confirmed")
    shop.books.pop()
    return order_id


def damage_charge_of_cancelled(shop: Shop) -> UUID:
    order_id = shop.an_order("cancelled")
    shop.book(order_id, status="captured")
    return order_id


def damage_held_money(shop: Shop) -> UUID:
    order_id = shop.an_order("cancelled")
    shop.book(order_id, status="authorized")
    return order_id


def damage_authorization(shop: Shop) -> UUID:
    order_id = shop.an_order("cancelled")
    Payment.objects.filter(order_id=order_id).update(state="authorized")
    return order_id


def damage_reservation(shop: Shop) -> UUID:
    order_id = shop.an_order("cancelled")
    Reservation.objects.filter(order_id=order_id).update(state="held")
    return order_id


def damage_shipment(shop: Shop) -> UUID:
    order_id = shop.an_order("cancelled")
    Shipment.objects.filter(order_id=order_id).update(state="booked")
    return order_id


def damage_goods(shop: Shop) -> UUID:
    order_id = shop.an_order("confirmed")
    Reservation.objects.filter(order_id=order_id).delete()
    return order_id


def damage_parcel(shop: Shop) -> UUID:
    order_id = shop.an_order("confirmed")
    Shipment.objects.filter(order_id=order_id).delete()
    return order_id


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_saga, "is pending and no checkout saga has begun for it"),
        (damage_saga_end, "is pending, but its checkout saga has ended"),
        (damage_payment, "must have been charged 1250, but was charged 0"),
        (damage_second_charge, "charged order {} 2 times"),
        (damage_books, "the gateway's books know nothing of it"),
        (damage_charge_of_cancelled, "charged 1250; it is cancelled: due are 0"),
        (damage_held_money, "the gateway still holds money for order {}"),
        (damage_authorization, "its payment is still authorized"),
        (damage_reservation, "is cancelled and still holds stock"),
        (damage_shipment, "its shipment is still booked"),
        (damage_goods, "is confirmed and has no goods"),
        (damage_parcel, "is confirmed and has no shipment"),
        (damage_refund_saga, "is cancelling and no refund saga has begun for it"),
        (damage_refund_saga_end, "is cancelling, but its refund saga has ended"),
        (damage_refunded_payment, "is refunded and must have been charged 0, but was charged 1250"),
        (damage_refund_in_the_books, "charged 1250; it is refunded: due are 0"),
        (damage_refunded_goods, "is refunded and its goods are still sold"),
        (damage_refunded_parcel, "is refunded and its shipment is still booked"),
        (damage_refunded_parcel_that_left, "is refunded and its shipment has left"),
        (damage_confirmed_parcel, "is confirmed and has no shipment"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_damage_is_found_and_named(shop, damage, said):
    shop.an_order("confirmed")
    order_id = damage(shop)

    violations = audits.audit().violations

    assert any(said.format(order_id) in line and str(order_id) in line for line in violations), violations
    assert all(str(order_id) in line or line.startswith("stock of") for line in violations), violations


def test_stock_that_no_order_accounts_for_is_found(shop):
    StockItem.objects.filter(sku="mug").update(on_hand=99_999, reserved=1)

    (violation,) = audits.audit().violations

    assert "stock of mug: 1 reserved and 0 sold, but the orders' reservations say 0 and 0" in violation


def test_dead_letters_that_nobody_collects_are_a_note(shop, broker, eventually):
    broker.Producer().publish({}, exchange="dead-letters", routing_key="billing")

    eventually(lambda: "1 dead letters of billing are not collected yet" in audits.audit().notes)


def test_open_dead_letters_are_a_note_for_a_person(shop):
    before = open_by_service().get("billing", 0)
    record_letter(service="billing")
    record_letter(service="billing", state="discarded", closed_at=NOON)

    assert f"{before + 1} dead letters of billing wait for a person" in audits.audit().notes


def test_sagas_that_need_a_person_are_a_note(shop):
    before = sagas_for_a_person().count()
    saga = SagaRecord.objects.get(business_key=shop.an_order("pending"))
    for position, name in enumerate(("reserve", "authorize")):
        StepRecord.objects.create(saga=saga, position=position, name=name, status="stuck", letter_id=uuid4())
    SagaRecord.objects.filter(id=saga.id).update(needs_a_person=True)

    report = audits.audit()

    assert report.violations == []
    assert any(note.startswith(f"{before + 1} sagas need a person") for note in report.notes)


def test_the_command_ends_with_1_and_one_line_for_each_violation(shop):
    order_id = damage_parcel(shop)
    out = io.StringIO()

    with pytest.raises(SystemExit) as ended:
        call_command("audit", stdout=out)

    assert ended.value.code == 1
    assert f"violation: order {order_id} is confirmed and has no shipment" in out.getvalue().splitlines()


def test_the_command_answers_in_json(shop):
    shop.an_order("confirmed")
    out = io.StringIO()

    call_command("audit", "--json", stdout=out)

    report = json.loads(out.getvalue())
    assert (report["violations"], report["orders"]) == ([], 1)
