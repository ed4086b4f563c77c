"""One article's stock as the fold of its events."""

import msgspec

from contracts.inventory import ItemReleased, ItemReserved, ItemReturned, ItemSold, StockReceived
from contracts.message import Message


class StockState(msgspec.Struct, frozen=True, kw_only=True):
    """Pieces, by where they are; the projection's row shows exactly this."""

    sku: str
    version: int = 0
    received: int = 0
    on_hand: int = 0
    reserved: int = 0
    sold: int = 0


def stream_of(sku: str) -> str:
    return f"stock_item-{sku}"


def evolve(state: StockState | None, event: Message) -> StockState:
    """The state after one more event; raises `TypeError` for an event that cannot follow."""
    match state, event:
        case _, StockReceived():
            before = state or StockState(sku=event.sku)
            return _next(
                before, received=before.received + event.quantity, on_hand=before.on_hand + event.quantity
            )
        case StockState(), ItemReserved():
            return _next(
                state, on_hand=state.on_hand - event.quantity, reserved=state.reserved + event.quantity
            )
        case StockState(), ItemReleased():
            return _next(
                state, on_hand=state.on_hand + event.quantity, reserved=state.reserved - event.quantity
            )
        case StockState(), ItemSold():
            return _next(state, reserved=state.reserved - event.quantity, sold=state.sold + event.quantity)
        case StockState(), ItemReturned():
            return _next(state, sold=state.sold - event.quantity, on_hand=state.on_hand + event.quantity)
    raise TypeError(f"A {type(event).__name__} cannot follow here: {state!r}.")


def _next(state: StockState, /, **changes: int) -> StockState:
    return msgspec.structs.replace(state, version=state.version + 1, **changes)
