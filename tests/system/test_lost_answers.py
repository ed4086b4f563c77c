"""A gateway that does as it is asked and whose answer never arrives."""

from tests.running_shop import RunningShop


def test_a_payment_whose_answer_is_lost_is_taken_once(shop: RunningShop) -> None:
    orders = [shop.place_order(card="tok_executes_then_times_out") for _ in range(3)]
    shop.settle(*orders)

    assert {order.status for order in orders} == {"confirmed"}
    for order in orders:
        assert [(charge["status"], charge["captured"]) for charge in shop.charges(order)] == [
            ("captured", 1250)
        ]
