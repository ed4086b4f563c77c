"""The shop in the customer's words: prices, articles, and what became of an order. No database, no clock."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from orders.models import Order, OrderLine, OrderStep, Product
from orders.order_words import (
    CANCELLATION,
    CANCELLED,
    CANCELLED_OTHERWISE,
    CHECKOUT,
    CONFIRMED,
    LABELS,
    NOT_CANCELLED,
    NOT_CANCELLED_OTHERWISE,
    TRY_AGAIN,
)

_SYMBOLS = {"EUR": "€", "GBP": "£", "USD": "$"}
_Name, _State = OrderStep.Name, OrderStep.State

NO_PICTURE = "orders/mark.svg"
"""Shown for an article that has no picture of its own."""


def money(amount: int, currency: str) -> str:
    """`€1,250.00` for 125000 cents of a euro; the code follows where a currency has no sign here."""
    digits = f"{amount // 100:,}.{amount % 100:02d}"
    symbol = _SYMBOLS.get(currency)
    return f"{symbol}{digits}" if symbol else f"{digits} {currency}"


@dataclass(frozen=True, kw_only=True)
class TestCard:
    """A card of the gateway's simulator that the demonstration offers: `number` is public and not a card."""

    __test__ = False  # pytest would take it for a test by its name

    token: str
    number: str
    label: str
    outcome: str


TEST_CARDS = (
    TestCard(
        token="tok_visa",
        number="4242 4242 4242 4242",
        label="Approves",
        outcome="The payment goes through and the order is confirmed.",
    ),
    TestCard(
        token="tok_declined",
        number="4000 0000 0000 0002",
        label="Declined",
        outcome="The bank says no; the order is cancelled and the goods go back.",
    ),
    TestCard(
        token="tok_insufficient_funds",
        number="4000 0000 0000 9995",
        label="Insufficient funds",
        outcome="The bank says no because there is not enough money.",
    ),
    TestCard(
        token="tok_flaky",
        number="4000 0000 0000 0119",
        label="Fails now and then",
        outcome="The gateway stumbles, the shop tries again, the order is confirmed.",
    ),
    TestCard(
        token="tok_capture_refused",
        number="4000 0000 0000 0341",
        label="Capture refused",
        outcome="Approved at first, refused at the end; parcel and goods are called back.",
    ),
    TestCard(
        token="tok_executes_then_times_out",
        number="4000 0000 0000 0259",
        label="Answer gets lost",
        outcome="The gateway acts but its answer never arrives; the card is still charged only once.",
    ),
)
TEST_TOKENS = frozenset(card.token for card in TEST_CARDS)


@dataclass(frozen=True, kw_only=True)
class Article:
    """An article as pages show it."""

    sku: str
    name: str
    description: str
    image: str
    price: str

    @classmethod
    def of(cls, product: Product) -> "Article":
        return cls(
            sku=product.sku,
            name=product.name,
            description=product.description,
            image=product.image or NO_PICTURE,
            price=money(product.price_amount, product.currency),
        )


@dataclass(frozen=True, kw_only=True)
class Line:
    """So many pieces of an article, in the cart or in an order."""

    sku: str
    name: str
    quantity: int
    each: str
    amount: str
    image: str = ""


@dataclass(frozen=True, kw_only=True)
class Bill:
    """Lines and what they cost together. `total_key` is the total as a form field holds it."""

    lines: tuple[Line, ...]
    total: str
    total_key: str
    missing: tuple[str, ...] = ()
    """Articles that the catalogue no longer lists."""

    @classmethod
    def of_cart(cls, lines: Iterable[tuple[str, int]], products: Mapping[str, Product]) -> "Bill":
        """What the cart costs now; articles without a product are left out and named in `missing`."""
        wanted = list(lines)
        shown = [(products[sku], quantity) for sku, quantity in wanted if sku in products]
        total = sum(product.price_amount * quantity for product, quantity in shown)
        currency = shown[0][0].currency if shown else "EUR"
        return cls(
            lines=tuple(
                Line(
                    sku=product.sku,
                    name=product.name,
                    quantity=quantity,
                    each=money(product.price_amount, product.currency),
                    amount=money(product.price_amount * quantity, product.currency),
                    image=product.image or NO_PICTURE,
                )
                for product, quantity in shown
            ),
            total=money(total, currency),
            total_key=f"{total} {currency}",
            missing=tuple(sku for sku, _ in wanted if sku not in products),
        )

    @classmethod
    def of_order(cls, order: Order, lines: Iterable[OrderLine]) -> "Bill":
        return cls(
            lines=tuple(
                Line(
                    sku=line.sku,
                    name=line.name,
                    quantity=line.quantity,
                    each=money(line.unit_amount, order.currency),
                    amount=money(line.amount, order.currency),
                )
                for line in lines
            ),
            total=money(order.total_amount, order.currency),
            total_key=f"{order.total_amount} {order.currency}",
        )


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of an order: `state` is done, refused, undone, current, waiting or skipped."""

    name: str
    label: str
    state: str
    at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What the order page says about an order at one moment."""

    status: str
    headline: str
    story: str
    about_money: str
    advice: str
    steps: tuple[Step, ...]
    is_finished: bool
    can_be_cancelled: bool = False


def progress_of(order: Order, steps: Iterable[OrderStep]) -> Progress:
    """What happened to the order and what happens with the money, as of these rows."""
    by_name = {step.name: step for step in steps}
    total = money(order.total_amount, order.currency)
    if order.status == Order.Status.CONFIRMED:
        headline, story, advice = (
            CONFIRMED if not order.reason else NOT_CANCELLED.get(order.reason, NOT_CANCELLED_OTHERWISE)
        )
        words = (headline, story, f"{total} has been taken from your card, once.", advice)
    elif order.status == Order.Status.CANCELLING:
        words = (
            "We are cancelling your order",
            "First we stop the parcel. If it has not left yet, your money and the goods go back.",
            f"{total} is given back to your card once the parcel is stopped.",
            "You may leave this page; we go on without you.",
        )
    elif order.status == Order.Status.REFUNDED:
        words = (
            "Your order is cancelled",
            "We stopped the parcel and put the goods back on the shelf, as you asked.",
            f"{total} has been given back to your card; some banks take a few days to show that.",
            TRY_AGAIN,
        )
    elif order.status == Order.Status.CANCELLED:
        words = CANCELLED.get(order.reason, CANCELLED_OTHERWISE)
    elif _is_failing(by_name):
        words = (
            "We cannot carry out your order",
            "One of the steps was refused. We are undoing the others now.",
            "Your card is not charged. If an amount is held on it, we are releasing it.",
            "",
        )
    else:
        words = (
            "We are working on your order",
            "Your order has been received. You may leave this page; we go on without you.",
            _money_under_way(by_name, total),
            "",
        )
    headline, story, about_money, advice = words
    return Progress(
        status=order.status,
        headline=headline,
        story=story,
        about_money=about_money,
        advice=advice,
        steps=_steps(order, by_name),
        is_finished=order.status not in (Order.Status.PENDING, Order.Status.CANCELLING),
        can_be_cancelled=order.can_be_cancelled,
    )


def facts_of(order: Order, steps: Iterable[OrderStep]) -> list[Step]:
    """What is known to have happened, for programs: nothing is said of what has not been heard yet."""
    by_name = {step.name: step for step in steps}
    heard = [
        Step(name=str(name), label=str(name.label), state=by_name[name].state, at=by_name[name].at)
        for name in _Name
        if name in by_name
    ]
    last = [] if order.finished_at is None else [_last_step(order, is_open=False, is_current_found=True)]
    return [_placed(order), *heard, *last]


def _placed(order: Order) -> Step:
    return Step(name="placed", label="Order received", state="done", at=order.placed_at)


def _is_failing(by_name: Mapping[str, OrderStep]) -> bool:
    return any(by_name[name].state != _State.DONE for name in CHECKOUT if name in by_name)


def _money_under_way(by_name: Mapping[str, OrderStep], total: str) -> str:
    if _Name.CAPTURE in by_name:
        return f"{total} has been taken from your card, once."
    if _Name.AUTHORIZE in by_name:
        return f"{total} is held on your card. It is taken only once your parcel is booked."
    return "Your card has not been charged. The amount is taken only once your parcel is booked."


def _steps(order: Order, by_name: Mapping[str, OrderStep]) -> tuple[Step, ...]:
    """The steps as the customer sees them.

    News of a step may come after the order's own end, which it cannot change: a confirmed order's steps are
    all done, and a cancelled one's are all undone.
    """
    shown = [_placed(order)]
    is_open = order.status == Order.Status.PENDING and not _is_failing(by_name)
    is_current_found = not is_open
    is_carried_out = order.status not in (Order.Status.PENDING, Order.Status.CANCELLED)
    for name in CHECKOUT:
        step = by_name.get(name)
        state = str(step.state) if step else "waiting" if is_open else "skipped"
        if is_carried_out:
            state = "done"
        elif order.status == Order.Status.CANCELLED and state == "done":
            state = "undone"
        elif state == "waiting" and not is_current_found:
            state, is_current_found = "current", True
        label = LABELS[name].get(state, LABELS[name]["waiting"])
        shown.append(Step(name=str(name), label=label, state=state, at=step.at if step else None))
    if not is_carried_out:
        shown.append(_last_step(order, is_open=is_open, is_current_found=is_current_found))
        return tuple(shown)
    confirmed_at = order.finished_at if order.status != Order.Status.REFUNDED else None
    confirmed = Step(name="confirmed", label="Order confirmed", state="done", at=confirmed_at)
    return (*shown, confirmed, *_cancellation(order, by_name))


def _cancellation(order: Order, by_name: Mapping[str, OrderStep]) -> Iterator[Step]:
    """The steps of cancelling a confirmed order; none where nobody has asked for that, or it was not begun."""
    if order.can_be_cancelled:
        return
    is_refused = order.status == Order.Status.CONFIRMED
    for name in CANCELLATION:
        step = by_name.get(name)
        state = str(step.state) if step else "skipped" if is_refused else "current"
        if order.status == Order.Status.REFUNDED:
            state = "done"
        elif is_refused and name == _Name.RECALL:
            state = "refused"
        elif state == "current" and name != _Name.RECALL and _Name.RECALL not in by_name:
            state = "waiting"
        label = LABELS[name].get(state, LABELS[name]["waiting"])
        yield Step(name=str(name), label=label, state=state, at=step.at if step else None)
    if not is_refused:
        is_over = order.status == Order.Status.REFUNDED
        yield Step(
            name="refunded",
            label="Order cancelled",
            state="done" if is_over else "waiting",
            at=order.finished_at if is_over else None,
        )


def _last_step(order: Order, *, is_open: bool, is_current_found: bool) -> Step:
    if order.status in (Order.Status.CONFIRMED, Order.Status.CANCELLING):
        return Step(name="confirmed", label="Order confirmed", state="done", at=order.finished_at)
    if order.status == Order.Status.REFUNDED:
        return Step(name="refunded", label="Order cancelled", state="done", at=order.finished_at)
    if order.status == Order.Status.CANCELLED:
        return Step(name="cancelled", label="Order cancelled", state="refused", at=order.finished_at)
    if not is_open:
        return Step(name="cancelled", label="Cancelling your order", state="current")
    return Step(name="confirmed", label="Order confirmed", state="waiting" if is_current_found else "current")
