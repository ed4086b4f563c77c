"""What the inventory reacts to."""

from contracts.inventory import ReleaseStock, ReserveStock, RestockGoods
from contracts.message import Event
from contracts.orders import OrderConfirmed
from inventory import services
from messaging.handling import handles
from messaging.policies import RetryPolicy

BATCH = 50
"""So many messages may share a transaction: most change the same few articles and would wait for one another."""


@handles(ReserveStock, batch=BATCH, lock=services.lock_articles)
def reserve_stock(command: ReserveStock) -> Event:
    return services.reserve(command.order_id, command.lines)


@handles(
    ReleaseStock,
    batch=BATCH,
    lock=services.lock_articles,
    retry=RetryPolicy(attempts=20, longest_pause=60),
)
def release_stock(command: ReleaseStock) -> Event:
    return services.release(command.order_id)


@handles(
    OrderConfirmed,
    batch=BATCH,
    lock=services.lock_articles,
    # The news may overtake the reservation, which itself may be on its way through the outbox.
    retry=RetryPolicy(attempts=12, longest_pause=60),
)
def sell_reserved_goods(event: OrderConfirmed) -> None:
    services.sell(event.order_id)


@handles(
    RestockGoods,
    batch=BATCH,
    lock=services.lock_articles,
    # The customer may be faster than the news that the goods are sold, and there is no way back from here.
    retry=RetryPolicy(attempts=20, longest_pause=60),
)
def restock_goods(command: RestockGoods) -> Event:
    return services.restock(command.order_id)
