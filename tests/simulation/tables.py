"""Sagas that between them have everything a saga may have: small ones of their own, and the shop's.

The messages of the small ones carry the order, and what `FIELDS` adds.
"""

from functools import cache
from typing import Any
from uuid import UUID

import msgspec

from contracts import reasons
from contracts.message import Command, Event
from contracts.orders import CancellationRefused, CancellationRequested, OrderRefunded
from sagas.checkout import CHECKOUT
from sagas.definition import Exhausted, Pause, Pivot, Saga, Step, Wait
from sagas.facts import Facts
from sagas.refund import REFUND
from tests.builders import ADA, EUR_25, NOON, Replies, order_placed

AMOUNT = 700
FIELDS: dict[str, list[tuple[str, type]]] = {
    "QuoteDone": [("amount", int)],
    "DoCharge": [("amount", int)],
    "DoShip": [("note", str)],
    "UndoShip": [("note", str), ("reason", str)],
}
_made: dict[str, Any] = {}


def command(name: str, *, service: str = "toys") -> type[Command]:
    """The command of this name, such as `DoA`."""
    made: type[Command] = _message(name, Command, service)
    return made


def event(name: str) -> type[Event]:
    made: type[Event] = _message(name, Event, "toys")
    return made


def _message(name: str, base: type, service: str) -> Any:
    if name not in _made:
        _made[name] = msgspec.defstruct(
            name,
            [("order", str), *FIELDS.get(name, [])],
            bases=(base,),
            namespace={"wire_type": f"{service}.{name.lower()}.v1", "__module__": __name__},
            frozen=True,
            kw_only=True,
        )
    return _made[name]


def step(
    name: str,
    *,
    is_refused: bool = True,
    is_undone: bool = True,
    is_asked: bool = False,
    service: str = "toys",
    **more: Any,
) -> Step:
    """A step whose messages are named after it."""
    title = name.title()
    return Step(
        name,
        command(f"Do{title}", service=service),
        done=event(f"{title}Done"),
        refused=event(f"{title}Refused") if is_refused else None,
        undo=command(f"Undo{title}", service=service) if is_undone else None,
        undone=event(f"{title}Undone") if is_undone else None,
        ask=command(f"Find{title}", service=service) if is_asked else None,
        nothing=event(f"{title}NotFound") if is_asked else None,
        **more,
    )


def pivot(name: str, *, is_refused: bool = True, is_asked: bool = False, **more: Any) -> Pivot:
    made = step(name, is_refused=is_refused, is_undone=False, is_asked=is_asked, **more)
    return Pivot(**{field: getattr(made, field) for field in made.__struct_fields__})


def last(name: str, **more: Any) -> Step:
    """A step after the pivot."""
    return step(name, is_refused=False, is_undone=False, **more)


def label(said: Facts) -> Command:
    """A command with words about what an earlier step has replied."""
    quote: Any = said[event("QuoteDone")]
    return command("DoShip").from_payload({"order": quote.order, "note": f"{quote.amount} cents"})


def unlabel(said: Facts) -> Command:
    quote: Any = said.of("quote", event("QuoteDone"))
    words = {"note": f"not for {quote.amount} cents", "reason": said.reason}
    return command("UndoShip").from_payload({"order": quote.order, **words})


BEGUN = event("Begun")
START = Step("start", undo=command("UndoStart"), undone=event("StartUndone"))

# fmt: off
PLAIN = Saga("plain", version=1, starts=BEGUN, unique_by="order", steps=(
    START, step("a", exhausted=Exhausted.COMPENSATE), step("b"), pivot("p"), last("z"),
))
WIDE = Saga("wide", version=1, starts=BEGUN, unique_by="order", steps=(
    START,
    step("a", after=("start",)), step("b", after=("start",), exhausted=Exhausted.COMPENSATE), step("c", after=("a",)),
    step("d", after=("b", "c"), is_undone=False),
))
ASKING = Saga("asking", version=1, starts=BEGUN, unique_by="order", deadline=500, steps=(
    step("a", is_asked=True), step("b", repeats=2), pivot("p", is_asked=True, service="bank"),
    last("y", after=("p",)), last("z", after=("p",)), last("x", after=("y", "z")),
))
WAITING = Saga("waiting", version=1, starts=BEGUN, unique_by="order", steps=(
    step("a"),
    Wait("word", done=event("WordGiven"), refused=event("WordDenied"), deadline=200, exhausted=Exhausted.COMPENSATE),
    Pause("rest", seconds=30), step("b"),
    Wait("sign", done=event("Signed"), deadline=200, after=("a",)),
    step("c", after=("b", "sign")),
))
WHOLE = Saga("whole", version=1, starts=BEGUN, unique_by="order", deadline=900, steps=(
    START,
    step("quote"),
    step("hold", after=("quote",), service="stock", repeats=1, deadline=30.0),
    step("charge", after=("quote",), is_asked=True, service="bank", repeats=2, exhausted=Exhausted.COMPENSATE),
    Wait("word", done=event("WordGiven"), refused=event("WordDenied"), deadline=400, after=("hold",)),
    step("ship", after=("word", "charge"), build=label, build_undo=unlabel, is_asked=True),
    step("check", after=("hold",), is_refused=False, is_undone=False),
    pivot("p", after=("ship", "check"), service="bank", longest_pause=100.0),
    Pause("rest", seconds=40, after=("p",)),
    Wait("sign", done=event("Signed"), deadline=300, after=("p",)),
    last("x", after=("rest",), is_asked=True),
    last("y", after=("sign", "x"), service="stock"),
))
# fmt: on
TABLES = (PLAIN, WIDE, ASKING, WAITING, WHOLE, CHECKOUT, REFUND)

_ORDER_ID = UUID(int=1)
_SHOP: dict[type[Event], Event] = {
    type(message): message
    for message in (
        order_placed(_ORDER_ID),
        *vars(Replies(_ORDER_ID)).values(),
        CancellationRequested(request_id=_ORDER_ID, order_id=_ORDER_ID, total=EUR_25, requested_at=NOON),
        CancellationRefused(order_id=_ORDER_ID, contact=ADA, reason=reasons.SHIPMENT_LEFT, refused_at=NOON),
        OrderRefunded(order_id=_ORDER_ID, contact=ADA, total=EUR_25, refunded_at=NOON),
    )
}
"""Events that the shop's own sagas hear."""

_WORDS = {
    "order": "1",
    "amount": AMOUNT,
    **{name: value for message in _SHOP.values() for name, value in message.to_payload().items()},
}
"""What a field says in whatever else is said."""


@cache
def example(kind: type[Event]) -> Event:
    """What somebody says who says this."""
    if kind in _SHOP:
        return _SHOP[kind]
    return kind.from_payload({name: _WORDS[name] for name in kind.__struct_fields__})
