"""What the inventory can do. An order's articles are locked in the order of their names, so nobody waits in a ring."""

from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import connections

from contracts import reasons
from contracts.inventory import (
    GoodsRestocked,
    ItemReleased,
    ItemReserved,
    ItemReturned,
    ItemSold,
    ReleaseStock,
    ReserveStock,
    RestockGoods,
    StockReceived,
    StockReleased,
    StockReserved,
    StockSold,
    StockUnavailable,
)
from contracts.message import Event
from contracts.orders import OrderConfirmed
from contracts.values import Line
from inventory.aggregate import StockState, evolve, stream_of
from inventory.errors import InventoryError, NothingToReturn, NotReservedYet, NotSoldYet
from inventory.models import Reservation
from messaging import outbox
from messaging.unit_of_work import current, unit_of_work

SERVICE = "inventory"

_LOCK = """
SELECT sku, version, received, on_hand, reserved, sold
FROM inventory_stockitem WHERE sku = ANY(%s) ORDER BY sku FOR UPDATE"""

_SAVE = """
INSERT INTO inventory_stockitem (sku, version, received, on_hand, reserved, sold)
SELECT * FROM unnest(%s::text[], %s::int[], %s::int[], %s::int[], %s::int[], %s::int[])
ON CONFLICT (sku) DO UPDATE SET version = excluded.version, received = excluded.received,
    on_hand = excluded.on_hand, reserved = excluded.reserved, sold = excluded.sold"""

_LOCK_RESERVATION = """
SELECT version, state, lines::text FROM inventory_reservation WHERE order_id = %s FOR UPDATE"""

_SAVE_RESERVATION = """
INSERT INTO inventory_reservation (order_id, version, state, lines, changed_at)
VALUES (%s, %s, %s, %s::jsonb, %s)
ON CONFLICT (order_id) DO UPDATE SET version = excluded.version, state = excluded.state,
    lines = excluded.lines, changed_at = excluded.changed_at"""


class _Held(msgspec.Struct, frozen=True):
    version: int = 0
    state: str = ""
    lines: tuple[Line, ...] = ()


def receive(sku: str, quantity: int) -> StockState:
    """Goods came in. Returns the article's stock afterwards."""
    with unit_of_work(SERVICE, correlation_id=stream_of(sku)):
        before = _locked([sku]).get(sku)
        event = StockReceived(sku=sku, quantity=quantity)
        after = evolve(before, event)
        outbox.publish(event, stream=stream_of(sku), version=after.version)
        _save([after])
    return after


def reserve(order_id: UUID, lines: tuple[Line, ...]) -> Event:
    """Hold all of the lines for the order, or none: then the answer names the articles that are short."""
    stock = _locked([line.sku for line in lines])
    short = tuple(
        line.sku for line in lines if line.sku not in stock or stock[line.sku].on_hand < line.quantity
    )
    if short:
        refused = StockUnavailable(order_id=order_id, skus=short, reason=reasons.OUT_OF_STOCK)
        _change_reservation(order_id, _Held(), refused, state=Reservation.State.REFUSED, lines=())
        return refused
    _move(stock, lines, lambda line: ItemReserved(sku=line.sku, quantity=line.quantity, order_id=order_id))
    reserved = StockReserved(order_id=order_id, lines=lines)
    _change_reservation(order_id, _Held(), reserved, state=Reservation.State.HELD, lines=lines)
    return reserved


def release(order_id: UUID) -> Event:
    """Give back what the order holds; where it never held anything, only say so."""
    held = _reservation(order_id)
    if held.state == Reservation.State.SOLD:
        raise InventoryError(f"The goods of order {order_id} are sold; a sale is not released but returned.")
    lines = held.lines if held.state == Reservation.State.HELD else ()
    if lines:
        stock = _locked([line.sku for line in lines])
        _move(
            stock, lines, lambda line: ItemReleased(sku=line.sku, quantity=line.quantity, order_id=order_id)
        )
    released = StockReleased(order_id=order_id, lines=lines)
    _change_reservation(order_id, held, released, state=Reservation.State.RELEASED, lines=held.lines)
    return released


def sell(order_id: UUID) -> Event:
    """The order is confirmed: what it holds is sold. Raises `NotReservedYet` where nothing is held yet."""
    held = _reservation(order_id)
    if held.state != Reservation.State.HELD:
        raise NotReservedYet(
            f"Order {order_id} is confirmed, but its reservation is {held.state or 'not known here'}."
        )
    stock = _locked([line.sku for line in held.lines])
    _move(stock, held.lines, lambda line: ItemSold(sku=line.sku, quantity=line.quantity, order_id=order_id))
    sold = StockSold(order_id=order_id, lines=held.lines)
    _change_reservation(order_id, held, sold, state=Reservation.State.SOLD, lines=held.lines)
    return sold


def restock(order_id: UUID) -> Event:
    """What the order was sold is on the shelf again.

    Raises `NotSoldYet` before the news of the sale has come, and `NothingToReturn` where it cannot come any more.
    """
    held = _reservation(order_id)
    if held.state != Reservation.State.SOLD:
        is_to_come = held.state in ("", Reservation.State.HELD)
        raise (NotSoldYet if is_to_come else NothingToReturn)(
            f"The goods of order {order_id} are to come back, but its reservation is {held.state or 'not known here'}."
        )
    stock = _locked([line.sku for line in held.lines])
    _move(
        stock, held.lines, lambda line: ItemReturned(sku=line.sku, quantity=line.quantity, order_id=order_id)
    )
    restocked = GoodsRestocked(order_id=order_id, lines=held.lines)
    _change_reservation(order_id, held, restocked, state=Reservation.State.RETURNED, lines=held.lines)
    return restocked


_LOCK_ARTICLES = """
SELECT 1 FROM inventory_stockitem
WHERE sku = ANY(%s) OR sku IN (
    SELECT line ->> 'sku' FROM inventory_reservation, jsonb_array_elements(lines) AS line WHERE order_id = ANY(%s))
ORDER BY sku FOR UPDATE"""


def lock_articles(messages: Sequence[ReserveStock | ReleaseStock | OrderConfirmed | RestockGoods]) -> None:
    """Lock every article that these messages may change, in the order of their names."""
    skus = {line.sku for message in messages if isinstance(message, ReserveStock) for line in message.lines}
    orders = [message.order_id for message in messages if not isinstance(message, ReserveStock)]
    with connections[settings.SERVICES[SERVICE]].cursor() as cursor:
        cursor.execute(_LOCK_ARTICLES, [sorted(skus), orders])


def _locked(skus: Iterable[str]) -> dict[str, StockState]:
    with connections[settings.SERVICES[SERVICE]].cursor() as cursor:
        cursor.execute(_LOCK, [sorted(skus)])
        return {
            sku: StockState(
                sku=sku, version=version, received=received, on_hand=on_hand, reserved=reserved, sold=sold
            )
            for sku, version, received, on_hand, reserved, sold in cursor.fetchall()
        }


def _move(stock: dict[str, StockState], lines: tuple[Line, ...], event_of: Callable[[Line], Event]) -> None:
    changed = []
    for line in lines:
        event = event_of(line)
        after = evolve(stock[line.sku], event)
        outbox.publish(event, stream=stream_of(line.sku), version=after.version)
        changed.append(after)
    _save(changed)


def _save(items: list[StockState]) -> None:
    current().add_statement(
        (
            _SAVE,
            [
                [item.sku for item in items],
                [item.version for item in items],
                [item.received for item in items],
                [item.on_hand for item in items],
                [item.reserved for item in items],
                [item.sold for item in items],
            ],
        )
    )


def _reservation(order_id: UUID) -> _Held:
    with connections[settings.SERVICES[SERVICE]].cursor() as cursor:
        cursor.execute(_LOCK_RESERVATION, [order_id])
        row = cursor.fetchone()
    if row is None:
        return _Held()
    version, state, lines = row
    return _Held(version, state, msgspec.json.decode(lines, type=tuple[Line, ...]))


def _change_reservation(
    order_id: UUID, held: _Held, event: Event, *, state: str, lines: tuple[Line, ...]
) -> None:
    version = held.version + 1
    outbox.publish(event, stream=f"reservation-{order_id}", version=version)
    work = current()
    encoded = msgspec.json.encode(lines).decode()
    work.add_statement((_SAVE_RESERVATION, [order_id, version, str(state), encoded, work.now]))
