"""Looking around and filling the cart: few statements, nothing written."""

import pytest
from django.conf import settings
from django.db import connections
from django.test import Client

from orders.cart import COOKIE
from orders.catalogue import DEMONSTRATION_CATALOGUE, load_catalogue
from orders.models import Order, OrderStep, Product

pytestmark = pytest.mark.django_db(databases="__all__", transaction=False)


def test_the_catalogue_takes_one_statement(browser, django_assert_num_queries):
    with django_assert_num_queries(1, connection=connections[settings.SERVICES["orders"]]):
        page = browser.get("/")

    for article in DEMONSTRATION_CATALOGUE:
        assert article.name in page.content.decode()
    assert b"\xe2\x82\xac12.50" in page.content


def test_loading_the_catalogue_again_changes_nothing(catalogue):
    before = list(Product.objects.values())

    load_catalogue()

    assert list(Product.objects.values()) == before
    assert Product.objects.get(sku="mug").price_amount == 1250


def test_every_picture_exists():
    from django.contrib.staticfiles import finders

    assert all(finders.find(article.image) for article in DEMONSTRATION_CATALOGUE)


def test_browsing_and_choosing_write_nothing(browser, django_assert_num_queries):
    with django_assert_num_queries(3, connection=connections[settings.SERVICES["orders"]]) as captured:
        browser.get("/articles/mug/")
        browser.choose("mug", 2)
        browser.get("/cart/")

    assert all(query["sql"].startswith("SELECT") for query in captured.captured_queries)


def test_pages_load_nothing_from_elsewhere_and_run_nothing_inline(browser, settings):
    browser.choose("mug")
    for address in ("/", "/articles/mug/", "/cart/", "/checkout/", "/nowhere/"):
        page = browser.get(address)
        policy = page.headers["Content-Security-Policy"]
        text = page.content.decode()
        assert f"connect-src 'self' {settings.GATEWAY_PUBLIC_URL}" in policy
        assert "unsafe-inline" not in policy
        assert " style=" not in text and "<style" not in text and "onclick" not in text
        assert 'src="http' not in text


def test_quantities_add_up_to_ninety_nine(browser):
    browser.choose("mug", 60)
    browser.choose("mug", 60)

    page = browser.get("/cart/").content.decode()
    assert 'value="99"' in page
    assert "at most 99" in page


def test_a_wrong_quantity_is_said_beside_the_field(browser):
    answer = browser.post("/cart/add/", {"sku": "mug", "quantity": "100"})

    assert answer.status_code == 422
    assert b"at most 99" in answer.content
    assert b'aria-invalid="true"' in answer.content


def test_lines_can_be_changed_and_removed(browser):
    browser.choose("mug", 2)
    browser.choose("clock", 1)
    browser.get("/cart/")

    browser.post("/cart/change/", {"quantity-mug": "5", "remove": "clock"})

    page = browser.get("/cart/").content.decode()
    assert 'value="5"' in page
    assert "Quiet wall clock" not in page


def test_a_cookie_that_was_tampered_with_is_an_empty_cart_with_a_message(browser):
    browser.choose("mug")
    browser.cookies[COOKIE] = browser.cookies[COOKIE].value + "x"

    page = browser.get("/cart/")

    assert b"could not read your cart" in page.content
    assert page.cookies[COOKIE]["max-age"] == 0


def test_what_is_no_longer_sold_leaves_the_cart(browser):
    browser.choose("mug")
    browser.choose("clock")
    Product.objects.filter(sku="clock").update(is_listed=False)

    assert browser.get("/checkout/").status_code == 302
    assert b"no longer sold: clock" in browser.get("/cart/").content
    assert b"no longer sold" not in browser.get("/cart/").content


def test_an_unknown_article_or_order_is_a_page_in_the_shops_look(browser):
    for address in ("/articles/none/", "/orders/00000000-0000-4000-8000-000000000000/"):
        answer = browser.get(address)
        assert answer.status_code == 404
        assert b"There is nothing here" in answer.content


def test_a_form_without_its_csrf_token_is_refused_with_the_way_out(catalogue):
    answer = Client(enforce_csrf_checks=True).post("/cart/add/", {"sku": "mug", "quantity": "1"})

    assert answer.status_code == 403
    assert b"Please send that again" in answer.content


def test_the_order_page_takes_three_statements_and_keeps_to_itself(browser, django_assert_num_queries):
    browser.choose("mug")
    address = browser.submit(browser.open_checkout()).headers["Location"]

    with django_assert_num_queries(3, connection=connections[settings.SERVICES["orders"]]):
        page = browser.get(address)

    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["X-Robots-Tag"] == "noindex"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert b"We are working on your order" in page.content
    assert f"http://testserver{address}".encode() in page.content
    assert b'http-equiv="refresh"' in page.content


def test_progress_is_the_same_html_as_the_page_and_empty_when_seen(browser):
    browser.choose("mug")
    address = browser.submit(browser.open_checkout()).headers["Location"]

    progress = browser.get(f"{address}progress")

    assert progress.content in browser.get(address).content
    version = progress.headers["Progress-Version"]
    assert browser.get(f"{address}progress", {"seen": version}).status_code == 204
    order = Order.objects.get()
    OrderStep.objects.create(order_id=order.id, name="reserve", state="done", at=order.placed_at)
    assert browser.get(f"{address}progress", {"seen": version}).status_code == 200


def test_events_of_a_finished_order_are_its_last_state_and_the_end(browser, listener):
    browser.choose("mug")
    address = browser.submit(browser.open_checkout()).headers["Location"]
    order = Order.objects.get()
    Order.objects.filter(id=order.id).update(status="confirmed", finished_at=order.placed_at, version=3)

    answer = browser.get(f"{address}events")

    assert answer.headers["Content-Type"] == "text/event-stream"
    sent = b"".join(answer.streaming_content)
    answer.close()
    assert b"event: progress" in sent
    assert b"your order is confirmed" in sent


def test_one_stream_too_many_is_sent_away_to_polling(browser, monkeypatch):
    from orders import live

    monkeypatch.setattr(live, "listener", live.Listener(most_streams=0))
    browser.choose("mug")
    address = browser.submit(browser.open_checkout()).headers["Location"]

    answer = browser.get(f"{address}events")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "3"
