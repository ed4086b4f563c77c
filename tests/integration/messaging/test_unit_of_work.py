"""One transaction, one truth: what is sent is committed with what it belongs to, or not at all."""

from uuid import uuid4

import pytest
from django.conf import settings

from contracts.inventory import StockReserved
from contracts.orders import ConfirmOrder, ContactGiven
from eventstore import store
from eventstore.errors import ConcurrentAppend
from messaging import outbox
from messaging.envelope import utc_now
from messaging.errors import NoUnitOfWork
from messaging.models import OutboxMessage
from messaging.unit_of_work import unit_of_work
from orders.errors import InvalidOrder
from orders.models import Checkout, Order
from orders.services import place_order
from tests.builders import ADA, TWO_MUGS, an_envelope, an_order_request, order_placed

pytestmark = pytest.mark.django_db
ORDERS = settings.SERVICES["orders"]


def test_a_message_and_what_it_belongs_to_are_stored_together(bookkeeping):
    order_id = place_order(an_order_request(), checkout_key=str(uuid4())).order_id

    assert Order.objects.filter(id=order_id).exists()
    assert bookkeeping("orders").types_outgoing(order_id) == ["orders.order_placed.v1"]
    assert [one.version for one in store.read(f"order-{order_id}", database=ORDERS)] == [1, 2]


def test_nothing_is_sent_where_the_transaction_is_rolled_back(bookkeeping):
    order_id = uuid4()
    with pytest.raises(ZeroDivisionError), unit_of_work("orders", correlation_id=str(order_id)):
        outbox.send(ConfirmOrder(order_id=order_id))
        outbox.publish(order_placed(order_id), stream=f"order-{order_id}", version=1)
        raise ZeroDivisionError

    assert bookkeeping("orders").outgoing(order_id) == []
    assert store.read(f"order-{order_id}", database=ORDERS) == []


def test_a_refused_order_leaves_nothing_behind():
    key = str(uuid4())
    before = OutboxMessage.objects.using(ORDERS).count()
    with pytest.raises(InvalidOrder, match="no-such-thing"):
        place_order(an_order_request(sku="no-such-thing"), checkout_key=key)

    assert not Checkout.objects.filter(key=key).exists()
    assert OutboxMessage.objects.using(ORDERS).count() == before


def test_outside_of_a_unit_of_work_nothing_can_be_sent():
    with pytest.raises(NoUnitOfWork, match=r"open `with unit_of_work\(service\):`"):
        outbox.send(ConfirmOrder(order_id=uuid4()))
    with pytest.raises(NoUnitOfWork):
        outbox.publish(order_placed(), stream="order-1", version=1)
    with unit_of_work("orders"):
        pass
    with pytest.raises(NoUnitOfWork):
        outbox.send(ConfirmOrder(order_id=uuid4()))


def test_a_collision_of_versions_takes_everything_with_it(bookkeeping):
    order_id = uuid4()
    stream = f"order-{order_id}"
    with unit_of_work("orders", correlation_id=str(order_id)):
        outbox.publish(order_placed(order_id), stream=stream, version=1)

    with pytest.raises(ConcurrentAppend), unit_of_work("orders", correlation_id=str(order_id)):
        outbox.send(ConfirmOrder(order_id=order_id))
        outbox.publish(order_placed(order_id), stream=stream, version=1)

    assert bookkeeping("orders").types_outgoing(order_id) == ["orders.order_placed.v1"]


def test_an_event_that_nobody_handles_is_stored_and_not_sent(bookkeeping):
    order_id = uuid4()
    with unit_of_work("orders", correlation_id=str(order_id)):
        outbox.publish(ContactGiven(order_id=order_id, contact=ADA), stream=f"order-{order_id}", version=1)

    assert len(store.read(f"order-{order_id}", database=ORDERS)) == 1
    assert bookkeeping("orders").outgoing(order_id) == []


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_envelope_tells_the_story(bookkeeping):
    """Correlation names the order, causation the message before, and a reply bears its saga and step."""
    order_id, saga_id = uuid4(), uuid4()
    cause = an_envelope(
        ConfirmOrder(order_id=order_id), saga_id=saga_id, step="confirm", step_try=1, traceparent=TRACE
    )
    with unit_of_work("inventory", cause=cause):
        reserved = StockReserved(order_id=order_id, lines=TWO_MUGS)
        outbox.publish(reserved, stream=f"reservation-{order_id}", version=1)

    (row,) = bookkeeping("inventory").outgoing(order_id)
    assert row.headers["correlation_id"] == str(order_id)
    assert row.headers["causation_id"] == str(cause.message_id)
    assert (row.headers["saga_id"], row.headers["step"]) == (str(saga_id), "confirm")
    assert (row.headers["stream"], row.headers["sequence"]) == (f"reservation-{order_id}", 1)
    assert row.headers["traceparent"][:36] == TRACE[:36]
    assert row.headers["traceparent"][36:52] != TRACE[36:52]
    assert row.headers["idempotency_key"] == row.headers["message_id"] == str(row.message_id)
    (recorded,) = store.read(f"reservation-{order_id}", database=settings.SERVICES["inventory"])
    assert recorded.metadata["message_id"] == str(row.message_id)


def test_a_command_may_be_due_later(bookkeeping):
    order_id, later = uuid4(), utc_now().replace(year=2100)
    with unit_of_work("orders", correlation_id=str(order_id)):
        outbox.send(ConfirmOrder(order_id=order_id), available_at=later)

    (row,) = bookkeeping("orders").outgoing(order_id)
    assert row.available_at == later
