"""Messages that share a transaction have the effects that each has alone, and fail alone."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connections
from django.test.utils import CaptureQueriesContext

from contracts.inventory import ReleaseStock, ReserveStock
from contracts.orders import OrderConfirmed
from contracts.values import Line
from eventstore import store
from inventory import services
from inventory.models import Reservation, StockItem
from inventory.services import receive
from messaging.batching import Settled, consume_all
from messaging.consumer import consume
from messaging.envelope import new_message_id, utc_now
from messaging.metrics import Outcome
from messaging.models import IdempotencyKey, KeyRetention
from messaging.settlement import Rejected
from tests.at_once import at_once
from tests.builders import (
    ADA,
    EUR_25,
    NOON,
    a_delivery,
    a_step_key,
    an_envelope,
    reserve_stock,
)

pytestmark = pytest.mark.usefixtures("committed")
INVENTORY = settings.SERVICES["inventory"]


@pytest.fixture
def sku() -> str:
    """An article of the test's own, a hundred pieces of it."""
    return an_article()


def an_article() -> str:
    name = f"article-{uuid4().hex[:10]}"
    receive(name, 100)
    return name


def stock(sku: str) -> StockItem:
    return StockItem.objects.get(sku=sku)


def outcomes(settled: list[Settled]) -> list[Outcome]:
    return [one.outcome for one in settled]


def commits_of(action: Callable[[], Any]) -> tuple[Any, int, int]:
    """What the action returned, and the commits and round trips that it took in the inventory's database."""
    connections[INVENTORY].ensure_connection()
    with CaptureQueriesContext(connections[INVENTORY]) as queries:
        result = action()
    said = [query["sql"] for query in queries.captured_queries]
    round_trips = sum(sql not in ("BEGIN", "COMMIT") for sql in said)
    return result, said.count("COMMIT"), round_trips


def test_fifty_commands_take_one_commit_and_each_has_its_own_effect(sku, bookkeeping):
    order_ids = [uuid4() for _ in range(50)]
    deliveries = [a_delivery(reserve_stock(order_id, sku=sku)) for order_id in order_ids]

    settled, commits, round_trips = commits_of(lambda: consume_all("inventory", deliveries))

    assert outcomes(settled) == [Outcome.HANDLED] * 50
    assert (commits, round_trips) == (1, 102), "claim, lock, a read and a write for each, events with replies"
    assert (stock(sku).reserved, stock(sku).on_hand, stock(sku).version) == (100, 0, 51)
    for order_id, delivery in zip(order_ids, deliveries, strict=True):
        (reply,) = bookkeeping("inventory").outgoing(order_id)
        assert reply.type == "inventory.stock_reserved.v1"
        assert reply.headers["causation_id"] == delivery.headers["message_id"]
        kept = bookkeeping("inventory").key(delivery.headers["idempotency_key"])
        assert kept.reply["envelope"]["message_id"] == str(reply.message_id)


def test_the_last_pieces_are_given_once_within_a_batch(sku):
    deliveries = [a_delivery(reserve_stock(uuid4(), sku=sku, quantity=40)) for _ in range(4)]

    consume_all("inventory", deliveries)

    assert (stock(sku).reserved, stock(sku).on_hand) == (80, 20)


def test_the_events_of_a_batch_are_one_gapless_story(sku):
    consume_all("inventory", [a_delivery(reserve_stock(uuid4(), sku=sku)) for _ in range(10)])

    story = store.read(f"stock_item-{sku}", database=INVENTORY)
    assert [event.version for event in story] == list(range(1, 12))


def test_each_keeps_its_own_reply_where_a_batch_holds_an_action_and_what_undoes_it(sku, bookkeeping):
    undone = []
    deliveries = []
    for _ in range(20):
        order_id, saga_id = uuid4(), uuid4()
        key = a_step_key("reserve", saga_id=saga_id)
        undo_key = a_step_key("reserve", saga_id=saga_id, is_compensation=True)
        reserve, release = reserve_stock(order_id, sku=sku), ReleaseStock(order_id=order_id)
        deliveries += [
            a_delivery(reserve, an_envelope(reserve, key=key)),
            a_delivery(release, an_envelope(release, key=undo_key)),
        ]
        undone.append((key, undo_key))

    settled = consume_all("inventory", deliveries)

    assert outcomes(settled) == [Outcome.HANDLED] * 40
    for key, undo_key in undone:
        kept = [bookkeeping("inventory").key(name).reply["envelope"]["type"] for name in (key, undo_key)]
        assert kept == ["inventory.stock_reserved.v1", "inventory.stock_released.v1"]


def test_a_failing_member_neither_fails_nor_repeats_its_neighbours(sku, bookkeeping, monkeypatch):
    bad = uuid4()
    reserve = services.reserve

    def broken(order_id: Any, lines: Any) -> Any:
        if order_id == bad:
            raise ZeroDivisionError("a bug")
        return reserve(order_id, lines)

    monkeypatch.setattr(services, "reserve", broken)
    good = [uuid4() for _ in range(9)]
    deliveries = [a_delivery(reserve_stock(order_id, sku=sku)) for order_id in [*good[:5], bad, *good[5:]]]

    settled = consume_all("inventory", deliveries)

    assert outcomes(settled) == [Outcome.HANDLED] * 5 + [Outcome.FAILED] + [Outcome.HANDLED] * 4
    assert stock(sku).reserved == 18
    assert all(len(bookkeeping("inventory").outgoing(order_id)) == 1 for order_id in good)
    (failure,) = bookkeeping("inventory").failures(deliveries[5].headers["message_id"])
    assert failure.exception == "ZeroDivisionError: a bug"


def test_a_member_that_cannot_be_read_is_rejected_alone(sku):
    good = [a_delivery(reserve_stock(uuid4(), sku=sku)) for _ in range(2)]
    bad = a_delivery(reserve_stock(uuid4(), sku=sku))
    bad.payload["lines"] = "none"

    settled = consume_all("inventory", [good[0], bad, good[1]])

    assert outcomes(settled) == [Outcome.HANDLED, Outcome.REJECTED, Outcome.HANDLED]
    assert "lines" in settled[1].reason
    assert stock(sku).reserved == 4


def test_a_duplicate_in_the_same_batch_has_no_further_effect_and_is_answered(sku, bookkeeping):
    order_id = uuid4()
    twice = a_delivery(reserve_stock(order_id, sku=sku))

    settled = consume_all("inventory", [twice, a_delivery(reserve_stock(uuid4(), sku=sku)), twice])

    assert outcomes(settled) == [Outcome.HANDLED, Outcome.HANDLED, Outcome.DUPLICATE]
    assert stock(sku).reserved == 4
    first, again = bookkeeping("inventory").outgoing(order_id)
    assert first.message_id == again.message_id


@pytest.mark.parametrize("is_action_first", [True, False])
def test_an_action_and_its_compensation_in_one_batch_leave_nothing_reserved(sku, is_action_first):
    order_id, saga_id = uuid4(), uuid4()
    reserve, release = reserve_stock(order_id, sku=sku), ReleaseStock(order_id=order_id)
    action = a_delivery(reserve, an_envelope(reserve, key=a_step_key("reserve", saga_id=saga_id)))
    undo_key = a_step_key("reserve", saga_id=saga_id, is_compensation=True)
    compensation = a_delivery(release, an_envelope(release, key=undo_key))
    pair = [action, compensation] if is_action_first else [compensation, action]

    consume_all("inventory", [*pair, a_delivery(reserve_stock(uuid4(), sku=sku))])

    assert stock(sku).reserved == 2, "the third one's"
    assert Reservation.objects.get(order_id=order_id).state == "released"


def test_what_was_delivered_before_is_handled_alone(sku):
    """It may be what ended its last consumer, so it shares no transaction."""
    suspect = a_delivery(reserve_stock(uuid4(), sku=sku), is_redelivered=True)
    others = [a_delivery(reserve_stock(uuid4(), sku=sku)) for _ in range(3)]

    _, commits, _ = commits_of(lambda: consume_all("inventory", [*others, suspect]))

    assert commits == 2
    assert stock(sku).reserved == 8


def test_messages_of_several_types_share_a_transaction(sku):
    """A reservation, its sale and another's release: each reads what the one before it has written."""
    sold, released = uuid4(), uuid4()
    consume("inventory", a_delivery(reserve_stock(released, sku=sku)))
    confirmed = OrderConfirmed(order_id=sold, contact=ADA, total=EUR_25, confirmed_at=NOON)
    messages = [reserve_stock(sold, sku=sku), confirmed, ReleaseStock(order_id=released)]

    settled, commits, _ = commits_of(lambda: consume_all("inventory", [a_delivery(one) for one in messages]))

    assert outcomes(settled) == [Outcome.HANDLED] * 3
    assert commits == 1
    assert (stock(sku).sold, stock(sku).reserved, stock(sku).on_hand) == (2, 0, 98)


def test_batches_that_want_the_same_articles_do_not_wait_in_a_ring():
    one, other = an_article(), an_article()

    def reserve_in_order(*skus: str) -> None:
        lines = [Line(sku=sku, quantity=1) for sku in skus]
        commands = [ReserveStock(order_id=uuid4(), lines=(line,)) for line in lines]
        _, commits, _ = commits_of(lambda: consume_all("inventory", list(map(a_delivery, commands))))
        assert commits == 1, "no batch had to be repeated or split"

    for _ in range(10):
        at_once(lambda: reserve_in_order(one, other), lambda: reserve_in_order(other, one))

    assert (stock(one).reserved, stock(other).reserved) == (20, 20)


class TestExpired:
    """A message older than its consumer's keys is not run: whether it was handled before, nobody knows."""

    @pytest.fixture(autouse=True)
    def retention(self):
        limit = utc_now() - timedelta(days=30)
        KeyRetention.objects.using(INVENTORY).update_or_create(
            service="inventory", defaults={"keys_kept_since": limit, "raised_at": utc_now()}
        )
        yield
        KeyRetention.objects.using(INVENTORY).all().delete()

    @staticmethod
    def an_old_one(sku: str, **more: Any) -> Any:
        command = reserve_stock(uuid4(), sku=sku)
        long_ago = utc_now() - timedelta(days=31)
        return a_delivery(command, an_envelope(command, occurred_at=long_ago, **more))

    @staticmethod
    def a_new_one(sku: str) -> Any:
        command = reserve_stock(uuid4(), sku=sku)
        return a_delivery(command, an_envelope(command, occurred_at=utc_now()))

    def test_alone(self, sku, bookkeeping):
        old = self.an_old_one(sku)

        with pytest.raises(Rejected, match="older than the keys"):
            consume("inventory", old)

        assert stock(sku).reserved == 0
        (failure,) = bookkeeping("inventory").failures(old.headers["message_id"])
        assert failure.exception.startswith("Expired") and failure.next_attempt_at is None

    def test_in_a_batch(self, sku):
        settled = consume_all("inventory", [self.a_new_one(sku), self.an_old_one(sku), self.a_new_one(sku)])

        assert outcomes(settled) == [Outcome.HANDLED, Outcome.REJECTED, Outcome.HANDLED]
        assert stock(sku).reserved == 4

    def test_an_old_event_is_no_mere_duplicate(self, sku):
        event = OrderConfirmed(order_id=uuid4(), contact=ADA, total=EUR_25, confirmed_at=NOON)
        long_ago = utc_now() - timedelta(days=31)

        with pytest.raises(Rejected, match="older than the keys"):
            consume("inventory", a_delivery(event, an_envelope(event, occurred_at=long_ago)))

    def test_a_duplicate_whose_key_is_still_there_is_answered_however_old(self, sku):
        old = self.an_old_one(sku)
        KeyRetention.objects.using(INVENTORY).all().delete()
        consume("inventory", old)
        self.raise_limit()

        assert consume("inventory", old) is Outcome.DUPLICATE
        assert stock(sku).reserved == 2

    def test_a_replayed_letter_is_dated_by_its_replay(self, sku):
        assert consume("inventory", self.an_old_one(sku, replay_id=new_message_id())) is Outcome.HANDLED
        assert stock(sku).reserved == 2

    @staticmethod
    def raise_limit() -> None:
        KeyRetention.objects.using(INVENTORY).create(
            service="inventory", keys_kept_since=utc_now() - timedelta(days=30), raised_at=utc_now()
        )


def test_every_key_of_a_batch_is_claimed_by_the_message_that_came_first(sku):
    deliveries = [a_delivery(reserve_stock(uuid4(), sku=sku)) for _ in range(5)]

    consume_all("inventory", deliveries)

    ids = {delivery.headers["message_id"] for delivery in deliveries}
    rows = IdempotencyKey.objects.using(INVENTORY).filter(consumer="inventory", message_id__in=ids)
    assert {str(row.message_id) for row in rows} == ids
    assert {row.state for row in rows} == {"finished"}
