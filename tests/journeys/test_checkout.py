"""An order's whole way, through real processes."""

from inventory.models import StockItem
from notifications.models import Notification
from tests.running_shop import RunningShop, wait_until

RESERVE, RELEASE = "inventory.reserve_stock", "inventory.release_stock"
AUTHORIZE, VOID, CAPTURE = "billing.authorize_payment", "billing.void_payment", "billing.capture_payment"
SHIP, RECALL = "shipping.book_shipment", "shipping.cancel_shipment"
CONFIRM, CANCEL = "orders.confirm_order", "orders.cancel_order"


def available(sku: str) -> int:
    return StockItem.objects.get(sku=sku).on_hand


def test_a_good_card_and_goods_in_stock_end_in_a_confirmed_order(shop: RunningShop) -> None:
    before = available("mug")

    order = shop.place_order(sku="mug", quantity=2)
    shop.settle(order)

    assert order.status == "confirmed"
    assert shop.commands(order) == [RESERVE, AUTHORIZE, SHIP, CAPTURE, CONFIRM]
    wait_until(
        lambda: set(order.progress.values()) == {"done"} and len(order.progress) == 4, what="all four steps"
    )
    assert available("mug") == before - 2
    wait_until(lambda: StockItem.objects.get(sku="mug").reserved == 0, what="the goods to be sold")
    (charge,) = shop.charges(order)
    assert (charge["captured"], charge["refunded"]) == (2500, 0)


def test_the_customer_is_told_once_by_mail(shop: RunningShop) -> None:
    order = shop.place_order()
    shop.settle(order)

    wait_until(
        lambda: Notification.objects.filter(order_id=order.id).exists(), what="the note that a mail was sent"
    )

    mails = [mail for mail in shop.emails.iterdir() if str(order.id) in mail.read_text()]
    assert len(mails) == 1
    assert "is confirmed" in mails[0].read_text()


def test_a_declined_card_releases_the_stock(shop: RunningShop) -> None:
    before = available("teapot")

    order = shop.place_order(sku="teapot", quantity=2, card="declined")
    shop.settle(order)

    assert (order.status, order.reason) == ("cancelled", "card_declined")
    assert shop.commands(order) == [RESERVE, AUTHORIZE, RELEASE, CANCEL]
    assert available("teapot") == before
    assert all(charge["captured"] == 0 for charge in shop.charges(order))


def test_sold_out_goods_cancel_the_order_before_the_card_is_touched(shop: RunningShop) -> None:
    order = shop.place_order(sku="lamp")
    shop.settle(order)

    assert (order.status, order.reason) == ("cancelled", "out_of_stock")
    assert shop.commands(order) == [RESERVE, CANCEL]
    assert shop.charges(order) == []


def test_an_undeliverable_address_undoes_payment_and_stock(shop: RunningShop) -> None:
    before = available("teapot")

    order = shop.place_order(sku="teapot", postcode="00000")
    shop.settle(order)

    assert (order.status, order.reason) == ("cancelled", "undeliverable")
    assert shop.commands(order) == [RESERVE, AUTHORIZE, SHIP, VOID, RELEASE, CANCEL]
    assert available("teapot") == before
    assert [charge["status"] for charge in shop.charges(order)] == ["voided"]


def test_a_refused_capture_recalls_the_parcel_too(shop: RunningShop) -> None:
    order = shop.place_order(card="capture_refused")
    shop.settle(order)

    assert (order.status, order.reason) == ("cancelled", "capture_refused")
    assert shop.commands(order) == [RESERVE, AUTHORIZE, SHIP, CAPTURE, RECALL, VOID, RELEASE, CANCEL]
    assert [charge["status"] for charge in shop.charges(order)] == ["voided"]


def test_a_card_that_fails_now_and_then_is_charged_in_the_end(shop: RunningShop) -> None:
    orders = [shop.place_order(card="flaky") for _ in range(5)]
    shop.settle(*orders)

    assert [order.status for order in orders] == ["confirmed"] * 5
    assert [len(shop.charges(order)) for order in orders] == [1] * 5


def test_a_gateway_that_executes_and_never_answers_charges_once(shop: RunningShop) -> None:
    order = shop.place_order(card="tok_executes_then_times_out")
    shop.settle(order)

    assert order.status == "confirmed"
    (charge,) = shop.charges(order)
    assert charge["captured"] == 1250


def test_the_books_are_right_after_all_this(shop: RunningShop) -> None:
    audit = shop.audit()

    assert audit.returncode == 0, audit.stdout
    assert "0 violations" in audit.stdout
