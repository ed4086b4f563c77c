"""What the inventory reacts to."""

from contracts.inventory import ReleaseStock, ReserveStock
from contracts.message import Event
from contracts.orders import OrderConfirmed
from inventory import services
from messaging.handling import handles
from messaging.policies import RetryPolicy


@handles(ReserveStock)
def reserve_stock(command: ReserveStock) -> Event:
    return services.reserve(command.order_id, command.lines)


@handles(ReleaseStock, retry=RetryPolicy(attempts=20, longest_pause=60))
def release_stock(command: ReleaseStock) -> Event:
    return services.release(command.order_id)


# The news may overtake the reservation, which itself may be on its way through the outbox.
@handles(OrderConfirmed, retry=RetryPolicy(attempts=12, longest_pause=60))
def sell_reserved_goods(event: OrderConfirmed) -> None:
    services.sell(event.order_id)
