"""What must hold after a run, decided from what was found. Pure: no server is asked here."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chaos.mails import Mail

NAMED = 5
"""So many of the orders that something is wrong with are named; of the rest the number."""


@dataclass(frozen=True, kw_only=True)
class Order:
    id: str
    status: str
    total: int


@dataclass(frozen=True, kw_only=True)
class Letter:
    """A dead letter that is not closed."""

    queue: str
    type: str
    reason: str
    cause: str
    state: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is there at the end of a run."""

    wanted: int
    orders: Sequence[Order]
    placing: Mapping[str, Any] | None
    """The summary of `place_orders`; None where it gave none."""
    audit: Mapping[str, Any]
    unfinished_sagas: int
    outbox: Mapping[str, int]
    queues: Mapping[str, int]
    held_back: int
    open_breakers: Sequence[str]
    letters: Sequence[Letter]
    mails: Sequence[Mail]
    books: Sequence[Mapping[str, Any]]
    unended: Sequence[str] = field(default_factory=tuple)
    """What was waited for in vain."""


def violations(found: Found) -> list[str]:
    """A sentence for each promise that was broken; none if nothing was lost, doubled or left behind."""
    return [
        *(f"waited in vain for {what}" for what in found.unended),
        *_orders(found),
        *(f"audit: {sentence}" for sentence in found.audit["violations"]),
        *_at_rest(found),
        *_letters(found),
        *_mails(found),
        *_charges(found),
    ]


def repeated_mails(mails: Sequence[Mail]) -> int:
    """E-mails that went out again under the Message-ID of an earlier one: a mail server drops them."""
    return len(mails) - len({mail.message_id for mail in mails})


def _orders(found: Found) -> Iterator[str]:
    if len(found.orders) != found.wanted:
        yield f"{found.wanted} orders were to be placed, and there are {len(found.orders)}"
    unfinished = [order.id for order in found.orders if order.status in ("pending", "cancelling")]
    if unfinished:
        yield f"unfinished orders: {_named(unfinished)}"
    if found.placing is None:
        yield "place_orders gave no summary, so that nobody knows how the orders had to end"
        return
    if found.placing["otherwise"]:
        yield f"orders that ended otherwise than they must: {_named(found.placing['otherwise'])}"
    statuses = Counter(order.status for order in found.orders)
    for status in ("confirmed", "cancelled"):
        expected = found.placing[f"expected_{status}"]
        if statuses[status] != expected:
            yield f"{expected} orders had to be {status}, and {statuses[status]} are"


def _at_rest(found: Found) -> Iterator[str]:
    if found.unfinished_sagas:
        yield f"{found.unfinished_sagas} sagas are unfinished"
    for database, rows in found.outbox.items():
        if rows:
            yield f"{rows} messages are left in the outbox of {database}"
    for queue, messages in found.queues.items():
        if messages:
            yield f"{messages} messages are left in the queue {queue}"
    if found.held_back:
        yield f"{found.held_back} events are still held back for their predecessors"
    for breaker in found.open_breakers:
        yield f"the circuit breaker of {breaker} is still open"


def _letters(found: Found) -> Iterator[str]:
    for letter in found.letters:
        yield (
            f"a dead letter of {letter.queue} is {letter.state}: {letter.type or 'no type'}, "
            f"{letter.reason or 'no reason'} {letter.cause}".rstrip()
        )


def _mails(found: Found) -> Iterator[str]:
    by_order: dict[str, set[str]] = defaultdict(set)
    says: dict[str, set[str]] = defaultdict(set)
    for mail in found.mails:
        by_order[mail.order_id].add(mail.message_id)
        says[mail.order_id].add(mail.says)
    finished = {order.id: order.status for order in found.orders if order.status != "pending"}
    if silent := [order_id for order_id in finished if order_id not in by_order]:
        yield f"finished orders whose customer was sent no e-mail: {_named(silent)}"
    if twice := [order_id for order_id, ids in by_order.items() if len(ids) > 1]:
        yield f"orders whose customer was sent different e-mails: {_named(twice)}"
    if wrong := [
        order_id for order_id, status in finished.items() if says.get(order_id, {status}) != {status}
    ]:
        yield f"orders whose customer was told something else than what became of them: {_named(wrong)}"


def _charges(found: Found) -> Iterator[str]:
    charges: dict[str, list[int]] = defaultdict(list)
    held: list[str] = []
    for entry in found.books:
        if entry["captured"] > entry["refunded"]:
            charges[entry["reference"]].append(entry["captured"] - entry["refunded"])
        if entry["status"] == "authorized":
            held.append(entry["reference"])
    if several := [reference for reference, amounts in charges.items() if len(amounts) > 1]:
        yield f"orders charged more than once: {_named(several)}"
    due = {order.id: order.total for order in found.orders if order.status == "confirmed"}
    taken = {reference: sum(amounts) for reference, amounts in charges.items()}
    charged = due.keys() | taken.keys()
    if wrong := sorted(each for each in charged if due.get(each, 0) != taken.get(each, 0)):
        yield f"orders whose charge in the gateway's books is not what is due: {_named(wrong)}"
    if held:
        yield f"orders for which the gateway still holds money: {_named(held)}"


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return f"{', '.join(ids[:NAMED])}{more}"
