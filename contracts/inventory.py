"""The language of stock."""

from typing import ClassVar
from uuid import UUID

from contracts.message import Command, Event
from contracts.values import Line, Quantity, Sku


class ReserveStock(Command, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "inventory.reserve_stock.v1"
    order_id: UUID
    lines: tuple[Line, ...]


class StockReserved(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "inventory.stock_reserved.v1"
    order_id: UUID
    lines: tuple[Line, ...]


class StockUnavailable(Event, frozen=True, kw_only=True):
    """Nothing was reserved, because these articles were short."""

    wire_type: ClassVar[str] = "inventory.stock_unavailable.v1"
    order_id: UUID
    skus: tuple[Sku, ...]
    reason: str


class ReleaseStock(Command, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "inventory.release_stock.v1"
    order_id: UUID


class StockReleased(Event, frozen=True, kw_only=True):
    """The order holds no stock any more. `lines` is empty where it never held any."""

    wire_type: ClassVar[str] = "inventory.stock_released.v1"
    order_id: UUID
    lines: tuple[Line, ...]


class StockSold(Event, frozen=True, kw_only=True):
    """The order's reservation has become a sale."""

    wire_type: ClassVar[str] = "inventory.stock_sold.v1"
    order_id: UUID
    lines: tuple[Line, ...]


class RestockGoods(Command, frozen=True, kw_only=True):
    """The order is refunded, and its parcel was stopped: what was sold is for sale again."""

    wire_type: ClassVar[str] = "inventory.restock_goods.v1"
    order_id: UUID


class GoodsRestocked(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "inventory.goods_restocked.v1"
    order_id: UUID
    lines: tuple[Line, ...]


class StockReceived(Event, frozen=True, kw_only=True):
    """Goods came in. One article's own story starts with it, and continues with the four below."""

    wire_type: ClassVar[str] = "inventory.stock_received.v1"
    sku: Sku
    quantity: Quantity


class ItemReserved(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "inventory.item_reserved.v1"
    sku: Sku
    quantity: Quantity
    order_id: UUID


class ItemReleased(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "inventory.item_released.v1"
    sku: Sku
    quantity: Quantity
    order_id: UUID


class ItemSold(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "inventory.item_sold.v1"
    sku: Sku
    quantity: Quantity
    order_id: UUID


class ItemReturned(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "inventory.item_returned.v1"
    sku: Sku
    quantity: Quantity
    order_id: UUID
