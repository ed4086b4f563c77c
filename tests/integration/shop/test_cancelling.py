"""Cancelling a confirmed order, on its page and by the API: whoever asks, and however often, it begins once."""

from functools import partial
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.db import connections
from django.test import Client

from contracts import reasons
from contracts.message import Message
from contracts.orders import ConfirmOrder, RefundOrder, RefuseCancellation
from eventstore import store
from messaging.unit_of_work import unit_of_work
from orders import services
from orders.aggregate import stream_of
from orders.errors import CannotBeCancelled, NotBeingCancelled
from orders.models import Order
from orders.services import place_order, request_cancellation
from tests.at_once import at_once
from tests.builders import an_order_request

REQUESTED = "orders.cancellation_requested.v1"


def an_order() -> UUID:
    return place_order(an_order_request(), checkout_key=str(uuid4())).order_id


@pytest.fixture
def tell(deliver):
    def tell_(message: Message) -> None:
        deliver("orders", message)

    return tell_


@pytest.fixture
def confirmed(db, tell) -> UUID:
    order_id = an_order()
    tell(ConfirmOrder(order_id=order_id))
    return order_id


def row(order_id: UUID) -> tuple[str, str]:
    return Order.objects.values_list("status", "reason").get(id=order_id)


def requests(order_id: UUID) -> int:
    recorded = store.read(stream_of(order_id), database=settings.SERVICES["orders"])
    return sum(type(one.event).wire_type == REQUESTED for one in recorded)


def test_a_confirmed_orders_page_leads_to_a_page_that_asks_and_changes_nothing(
    confirmed, django_assert_num_queries
):
    page = Client().get(f"/orders/{confirmed}/")
    assert f'href="/orders/{confirmed}/cancel/"'.encode() in page.content

    with django_assert_num_queries(2, connection=connections[settings.SERVICES["orders"]]):
        asks = Client().get(f"/orders/{confirmed}/cancel/")

    assert asks.status_code == 200
    assert b"Cancel your order?" in asks.content
    assert b"12.50 back to your card" in asks.content
    assert asks.headers["Cache-Control"] == "no-store"
    assert row(confirmed) == ("confirmed", "")


def test_two_clicks_and_two_tabs_begin_one_cancellation(confirmed, bookkeeping):
    for browser in (Client(), Client()):
        for _ in range(2):
            answer = browser.post(f"/orders/{confirmed}/cancel/")
            assert (answer.status_code, answer.headers["Location"]) == (302, f"/orders/{confirmed}/")

    assert row(confirmed) == ("cancelling", "")
    assert requests(confirmed) == 1
    assert bookkeeping("orders").types_outgoing(confirmed).count(REQUESTED) == 1
    page = Client().get(f"/orders/{confirmed}/")
    assert b"We are cancelling your order" in page.content
    assert b'http-equiv="refresh"' in page.content, "the page goes on by itself without JavaScript too"
    assert b"order.js" in page.content


def test_a_form_of_another_site_cancels_nothing(confirmed):
    answer = Client(enforce_csrf_checks=True).post(f"/orders/{confirmed}/cancel/")

    assert answer.status_code == 403
    assert row(confirmed) == ("confirmed", "")


def test_the_page_that_asks_lets_the_browser_say_where_its_form_came_from(confirmed):
    """With `no-referrer` a browser sends `Origin: null`, and the form would be refused as another site's."""
    asks = Client().get(f"/orders/{confirmed}/cancel/")

    assert asks.headers["Referrer-Policy"] == "same-origin"


def test_an_order_that_is_refunded_says_so_and_asks_no_more(confirmed, tell):
    request_cancellation(confirmed)
    tell(RefundOrder(order_id=confirmed))

    assert row(confirmed) == ("refunded", "")
    page = Client().get(f"/orders/{confirmed}/")
    assert b"12.50 has been given back to your card" in page.content
    assert b"/cancel/" not in page.content
    assert not request_cancellation(confirmed)
    answer = Client().get(f"/orders/{confirmed}/cancel/")
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/orders/{confirmed}/")


def test_an_order_whose_parcel_has_left_is_confirmed_again_and_says_why(confirmed, tell):
    request_cancellation(confirmed)
    tell(RefuseCancellation(order_id=confirmed, reason=reasons.SHIPMENT_LEFT))

    assert row(confirmed) == ("confirmed", "shipment_left")
    page = Client().get(f"/orders/{confirmed}/")
    assert b"Your order could not be cancelled" in page.content
    assert b"/cancel/" not in page.content
    assert Client().get(f"/orders/{confirmed}/cancel/").status_code == 302
    answer = Client().post(f"/orders/{confirmed}/cancel/")
    assert answer.status_code == 409
    assert b"the parcel has left" in answer.content
    assert requests(confirmed) == 1


def test_what_an_operator_kept_from_being_cancelled_can_be_asked_for_again(confirmed, tell):
    request_cancellation(confirmed)
    tell(RefuseCancellation(order_id=confirmed, reason=reasons.CANCELLED_BY_OPERATOR))

    assert b"Your order was not cancelled" in Client().get(f"/orders/{confirmed}/").content
    assert request_cancellation(confirmed)
    assert row(confirmed) == ("cancelling", "")
    assert requests(confirmed) == 2


@pytest.mark.parametrize(
    "end", [services.refund, partial(services.refuse_cancellation, reason="shipment_left")]
)
def test_what_nobody_cancels_is_neither_refunded_nor_refused(confirmed, end):
    with (
        pytest.raises(NotBeingCancelled, match=f"{confirmed} is confirmed"),
        unit_of_work("orders", correlation_id=str(confirmed)),
    ):
        end(confirmed)

    assert row(confirmed) == ("confirmed", "")


def test_an_order_under_way_cannot_be_cancelled_yet(db):
    order_id = an_order()

    with pytest.raises(CannotBeCancelled, match="still working on this order"):
        request_cancellation(order_id)
    assert Client().get(f"/orders/{order_id}/cancel/").status_code == 302
    assert Client().post(f"/orders/{order_id}/cancel/").status_code == 409
    assert row(order_id) == ("pending", "")


@pytest.mark.parametrize("method", ["get", "post"])
def test_an_unknown_order_is_a_page_in_the_shops_look(db, method):
    answer = getattr(Client(), method)(f"/orders/{uuid4()}/cancel/")

    assert answer.status_code == 404
    assert b"Makegood" in answer.content


def test_programs_cancel_too_and_a_repetition_is_answered_alike(confirmed):
    answers = [Client().post(f"/api/orders/{confirmed}/cancellation") for _ in range(2)]

    for answer in answers:
        assert answer.status_code == 202
        assert answer.json() == {"order_id": str(confirmed), "status": "cancelling"}
        assert Client().get(answer.headers["Location"]).json()["status"] == "cancelling"
    assert requests(confirmed) == 1


def test_programs_are_told_why_not(db):
    pending = Client().post(f"/api/orders/{an_order()}/cancellation")
    assert (pending.status_code, pending.headers["Content-Type"]) == (409, "application/problem+json")
    assert "still working" in pending.json()["detail"]
    for unknown in (uuid4(), "17"):
        assert Client().post(f"/api/orders/{unknown}/cancellation").status_code == 404
    assert Client().get(f"/api/orders/{uuid4()}/cancellation").status_code == 405


@pytest.mark.usefixtures("committed")
class TestUnderRealCommits:
    def test_twenty_simultaneous_requests_begin_one_cancellation(self, tell, bookkeeping):
        order_id = an_order()
        tell(ConfirmOrder(order_id=order_id))

        begun = at_once(*[lambda: request_cancellation(order_id)] * 20)

        assert sorted(begun) == [False] * 19 + [True]
        assert requests(order_id) == 1
        assert bookkeeping("orders").types_outgoing(order_id).count(REQUESTED) == 1

    def test_a_refusal_and_a_second_click_at_the_same_moment_leave_the_refusal(self, tell):
        order_id = an_order()
        tell(ConfirmOrder(order_id=order_id))
        request_cancellation(order_id)

        def click() -> bool | None:
            try:
                return request_cancellation(order_id)
            except CannotBeCancelled:
                return None

        refuse = RefuseCancellation(order_id=order_id, reason=reasons.SHIPMENT_LEFT)
        _, clicked = at_once(lambda: tell(refuse), click)

        assert clicked in (False, None)
        assert row(order_id) == ("confirmed", "shipment_left")
        assert requests(order_id) == 1
