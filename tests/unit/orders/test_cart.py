"""The cart is a signed cookie: what the customer chose, and the key of the order that it will become."""

import pytest
from django.core import signing
from django.http import HttpResponse
from django.test import RequestFactory

from orders.cart import COOKIE, MOST_ARTICLES, SALT, Cart, CartFull, read_cart, write_cart


def reread(cart: Cart) -> Cart:
    response = HttpResponse()
    write_cart(response, cart)
    request = RequestFactory().get("/")
    request.COOKIES[COOKIE] = response.cookies[COOKIE].value
    return read_cart(request)


def cart_of_cookie(value: str) -> Cart:
    request = RequestFactory().get("/")
    request.COOKIES[COOKIE] = value
    return read_cart(request)


def test_what_was_chosen_comes_back_in_the_same_order():
    cart = Cart().with_quantity("mug", 2).with_quantity("clock", 1).with_checkout_key()

    assert reread(cart) == cart
    assert cart.pieces == 3


def test_the_cookie_is_out_of_reach_of_scripts():
    response = HttpResponse()
    write_cart(response, Cart().with_quantity("mug", 1))

    assert response.cookies[COOKIE]["httponly"]
    assert response.cookies[COOKIE]["samesite"] == "Lax"


def test_an_empty_cart_leaves_no_cookie():
    response = HttpResponse()
    write_cart(response, Cart())

    assert response.cookies[COOKIE]["max-age"] == 0


@pytest.mark.parametrize(
    "cookie",
    [
        "nonsense",
        "",
        signing.dumps({"lines": [["mug", 2]], "checkout_key": ""}, salt="another"),
        signing.dumps({"lines": [["mug", 2]], "checkout_key": ""}, salt=SALT)[:-1] + "!",
        signing.dumps({"lines": [["mug", 100]], "checkout_key": ""}, salt=SALT),
        signing.dumps({"lines": "mug", "checkout_key": ""}, salt=SALT),
        signing.dumps(["mug"], salt=SALT),
    ],
)
def test_a_cookie_that_the_shop_did_not_write_is_an_empty_cart(cookie):
    cart = cart_of_cookie(cookie)

    assert cart.lines == ()
    assert cart.is_unreadable


def test_no_article_goes_beyond_ninety_nine_pieces():
    assert Cart().with_quantity("mug", 250).quantity_of("mug") == 99


def test_no_quantity_takes_the_article_out():
    assert Cart().with_quantity("mug", 2).with_quantity("mug", 0) == Cart()


def test_a_full_cart_takes_no_further_article_but_more_of_the_same():
    cart = Cart(lines=tuple((f"article-{number}", 1) for number in range(MOST_ARTICLES)))

    with pytest.raises(CartFull):
        cart.with_quantity("mug", 1)
    assert cart.with_quantity("article-0", 5).quantity_of("article-0") == 5


def test_two_tabs_of_one_cart_share_the_checkout_key_and_a_change_forgets_it():
    cart = Cart().with_quantity("mug", 1).with_checkout_key()

    assert cart.with_checkout_key().checkout_key == cart.checkout_key
    assert cart.with_quantity("mug", 1).checkout_key == cart.checkout_key
    assert cart.with_quantity("mug", 2).checkout_key == ""


def test_the_fullest_cart_fits_into_a_cookie():
    lines = tuple((f"{number:02d}" + "x7q" * 20, 99) for number in range(MOST_ARTICLES))
    response = HttpResponse()
    write_cart(response, Cart(lines=lines).with_checkout_key())

    assert len(response.cookies[COOKIE].OutputString()) < 4096
