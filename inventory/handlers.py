"""What the inventory reacts to."""

from contracts.inventory import ReleaseStock, ReserveStock
from contracts.message import Event
from contracts.orders import OrderConfirmed
from inventory import services
from messaging.handling import handles


@handles(ReserveStock)
def reserve_stock(command: ReserveStock) -> Event:
    return services.reserve(command.order_id, command.lines)


@handles(ReleaseStock)
def release_stock(command: ReleaseStock) -> Event:
    return services.release(command.order_id)


@handles(OrderConfirmed)
def sell_reserved_goods(event: OrderConfirmed) -> None:
    services.sell(event.order_id)
