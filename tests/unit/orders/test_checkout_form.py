"""The checkout form: what it accepts, what it says, and that no card number gets through it."""

import pytest
from django.http import QueryDict

from orders.forms import CheckoutForm, QuantityForm, format_lines

CARD = "4242424242424242"


def form_with(**changes: str) -> CheckoutForm:
    data = QueryDict(mutable=True)
    data.update(
        {
            "name": "Ada Lovelace",
            "email": "ada@example.com",
            "line1": "12 St James's Square",
            "postcode": "SW1Y 4JH",
            "city": "London",
            "country": "GB",
            "payment_token": "tok_visa",
            "checkout_key": "k" * 32,
            "lines": "mug:2,clock:1",
            "total": "7900 EUR",
            **changes,
        }
    )
    return CheckoutForm(data)


def test_a_complete_form_becomes_an_order_request():
    form = form_with(name="  Ada Lovelace ")

    assert form.is_valid(), form.errors
    request = form.order_request()
    assert request.customer.name == request.ship_to.name == "Ada Lovelace"
    assert request.lines == (("mug", 2), ("clock", 1))
    assert format_lines(request.lines) == "mug:2,clock:1"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "   "),
        ("name", "x" * 121),
        ("email", "nope"),
        ("email", "a@b"),
        ("line1", ""),
        ("postcode", "?!"),
        ("postcode", "1" * 13),
        ("country", "XX"),
        ("country", ""),
        ("payment_token", ""),
        ("payment_token", "visa"),
        ("checkout_key", "short"),
        ("checkout_key", "api:" + "k" * 32),
        ("lines", "mug"),
        ("lines", "mug:0"),
        ("lines", "mug:100"),
        ("lines", "mug:1,mug:2"),
        ("lines", "Mug:1"),
    ],
)
def test_a_wrong_field_is_named(field, value):
    form = form_with(**{field: value})

    assert not form.is_valid()
    assert list(form.errors) == [field]


@pytest.mark.parametrize("value", ["Ada\x00", "Ada\nBcc: all@example.com", "Ada\u2028x", "Ada\x7f"])
def test_control_characters_are_refused(value):
    form = form_with(name=value)

    assert not form.is_valid()
    assert "name" in form.errors


@pytest.mark.parametrize(
    "number", [CARD, "4242 4242 4242 4242", "4242-4242-4242-4242", "4000.0000.0000.0002"]
)
@pytest.mark.parametrize(
    "field", ["name", "line1", "city", "email", "postcode", "checkout_key", "lines", "total"]
)
def test_a_card_number_is_refused_in_any_field_and_not_repeated(field, number):
    form = form_with(**{field: number})

    assert not form.is_valid()
    assert number not in form.as_p()
    assert "card number" in str(form.errors)


def test_a_card_number_is_found_among_other_digits_and_in_other_scripts():
    assert not form_with(line1="House 12 4242 4242 4242 4242").is_valid()
    assert not form_with(line1="４２４２４２４２４２４２４２４２").is_valid()


def test_a_card_number_in_a_field_that_the_form_does_not_have_is_refused():
    form = form_with(card_number=CARD)

    assert not form.is_valid()
    assert "card number" in str(form.non_field_errors())


@pytest.mark.parametrize("token", [CARD, f"tok_{CARD}"])
def test_a_card_number_is_no_token(token):
    form = form_with(payment_token=token)

    assert not form.is_valid()
    assert "card number" in str(form.errors["payment_token"])
    assert CARD not in form.as_p()


def test_a_random_token_may_hold_many_digits_between_its_letters():
    assert form_with(payment_token="tok_ab4242424242424242cdef0123456789").is_valid()


def test_numbers_of_houses_and_telephones_are_no_cards():
    assert form_with(line1="Hauptstr. 12, Tel. +49 30 901820").is_valid()


@pytest.mark.parametrize(
    ("quantity", "is_accepted"), [("1", True), ("99", True), ("0", False), ("100", False), ("x", False)]
)
def test_one_to_ninety_nine_pieces(quantity, is_accepted):
    assert QuantityForm({"sku": "mug", "quantity": quantity}).is_valid() is is_accepted
