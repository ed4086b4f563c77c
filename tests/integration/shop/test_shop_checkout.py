"""One submitted form is one order, however it is sent; and the card number stays out."""

import logging

import pytest

from orders.cart import COOKIE
from orders.models import Checkout, Order, Product

pytestmark = pytest.mark.django_db(databases="__all__", transaction=False)
CARD = "4242 4242 4242 4242"


def test_the_form_becomes_an_order_and_the_cart_is_empty(browser):
    browser.choose("mug", 2)

    answer = browser.submit(browser.open_checkout())

    order = Order.objects.get()
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/orders/{order.id}/")
    assert (order.total_amount, order.customer_name, order.country) == (2500, "Ada Lovelace", "GB")
    assert b"nothing in it yet" in browser.get("/cart/").content


def test_an_empty_cart_has_no_checkout(browser):
    assert browser.get("/checkout/").headers["Location"] == "/cart/"


def test_wrong_fields_are_named_beside_them_and_what_was_typed_is_kept(browser):
    browser.choose("mug")
    form = browser.open_checkout() | {"email": "nope", "country": "", "payment_token": "tok_declined"}

    answer = browser.submit(form)

    page = answer.content.decode()
    assert answer.status_code == 422
    assert 'id="id_email_error"' in page and 'id="id_country_error"' in page
    assert 'value="nope"' in page and 'value="12 St James&#x27;s Square"' in page
    assert page.index('value="tok_declined"') < page.index("checked")
    assert form["checkout_key"] in page
    assert "€12.50" in page
    assert not Order.objects.exists()


def test_the_form_works_without_javascript_in_demonstration_mode(browser, settings):
    browser.choose("mug")
    settings.DEMONSTRATION = True
    page = browser.get("/checkout/").content.decode()
    for token in (
        "visa",
        "declined",
        "insufficient_funds",
        "flaky",
        "capture_refused",
        "executes_then_times_out",
    ):
        assert f'value="tok_{token}"' in page

    settings.DEMONSTRATION = False
    page = browser.get("/checkout/").content.decode()
    assert "tok_" not in page
    assert "needs JavaScript" in page


def test_the_inputs_for_the_card_have_no_name(browser):
    browser.choose("mug")
    page = browser.get("/checkout/").content.decode()
    for name in ("card-number", "card-expiry", "card-cvc"):
        tag = page[page.index(f'<input id="{name}"') :].split(">", 1)[0]
        assert " name=" not in tag


@pytest.mark.parametrize(
    "field", ["name", "payment_token", "city", "checkout_key", "a_field_of_another_form"]
)
def test_a_card_number_is_neither_kept_nor_repeated_nor_logged(browser, caplog, field):
    browser.choose("mug")
    caplog.set_level(logging.DEBUG)

    answer = browser.submit(browser.open_checkout() | {field: CARD})

    assert answer.status_code == 422
    text = answer.content.decode().replace('<span class="number">' + CARD, "")
    assert CARD not in text and CARD.replace(" ", "") not in text
    logged = [record for record in caplog.records if not record.name.startswith("django.template")]
    assert not any("4242" in record.getMessage() for record in logged)
    assert not Checkout.objects.exists()


def test_back_and_resubmit_leads_to_the_same_order(browser):
    browser.choose("mug")
    form = browser.open_checkout()
    first = browser.submit(form)

    assert browser.submit(form).headers["Location"] == first.headers["Location"]
    assert Order.objects.count() == 1


def test_two_tabs_of_one_cart_make_one_order(browser):
    browser.choose("mug")
    one, other = browser.open_checkout(), browser.open_checkout()

    assert browser.submit(one).headers["Location"] == browser.submit(other).headers["Location"]


def test_the_same_key_with_other_contents_is_refused_with_the_ways_out(browser):
    browser.choose("mug")
    form = browser.open_checkout()
    browser.submit(form)
    order = Order.objects.get()

    answer = browser.submit(form | {"city": "Leeds", "name": "Bob"})

    assert answer.status_code == 409
    page = answer.content.decode()
    assert f"/orders/{order.id}/" in page
    assert "(name, town)" in page
    assert Order.objects.count() == 1


def test_after_a_refused_second_tab_the_same_goods_can_be_ordered_anew(browser):
    browser.choose("mug")
    form = browser.open_checkout()
    cart = browser.cookies[COOKIE].value
    browser.submit(form)
    browser.cookies[COOKIE] = cart
    assert browser.submit(form | {"city": "Leeds"}).status_code == 409

    answer = browser.submit(browser.open_checkout() | {"city": "Leeds"})

    assert answer.status_code == 303
    assert Order.objects.count() == 2


def test_a_cart_that_was_changed_meanwhile_is_not_emptied(browser):
    browser.choose("mug")
    form = browser.open_checkout()
    browser.choose("clock")

    browser.submit(form)

    assert [line.sku for line in Order.objects.get().lines.all()] == ["mug"]
    assert b"Quiet wall clock" in browser.get("/cart/").content


def test_an_order_is_not_placed_at_another_price_than_was_shown(browser):
    browser.choose("mug")
    form = browser.open_checkout()
    Product.objects.filter(sku="mug").update(price_amount=1300)

    answer = browser.submit(form)

    assert answer.status_code == 422
    assert b"price has changed" in answer.content
    assert not Order.objects.exists()
    assert 'value="1300 EUR"' in answer.content.decode()


def test_an_article_that_was_taken_off_meanwhile_is_said(browser):
    browser.choose("mug")
    browser.choose("clock")
    form = browser.open_checkout()
    Product.objects.filter(sku="clock").update(is_listed=False)

    answer = browser.submit(form)

    assert answer.status_code == 422
    assert b"no longer sold" in answer.content


@pytest.mark.parametrize("value", ["Ada\x00", "Ada\nBcc: all@example.com"])
def test_characters_that_cannot_be_typed_are_refused(browser, value):
    browser.choose("mug")

    assert browser.submit(browser.open_checkout() | {"name": value}).status_code == 422
