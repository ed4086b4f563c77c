"""Many customers want the same few pieces at the same moment."""

from inventory.models import StockItem
from inventory.services import receive
from orders.models import Product
from tests.running_shop import RunningShop

SKU = "last-pieces"


def test_as_many_orders_are_confirmed_as_there_are_pieces(shop: RunningShop) -> None:
    Product.objects.get_or_create(
        sku=SKU, defaults={"name": "Last pieces", "price_amount": 100, "position": 99}
    )
    receive(SKU, 10)

    orders = [shop.place_order(sku=SKU) for _ in range(30)]
    shop.settle(*orders)

    assert [order.status for order in orders].count("confirmed") == 10
    assert {order.reason for order in orders if order.status == "cancelled"} == {"out_of_stock"}
    item = StockItem.objects.get(sku=SKU)
    assert (item.received, item.on_hand, item.reserved, item.sold) == (10, 0, 0, 10)
