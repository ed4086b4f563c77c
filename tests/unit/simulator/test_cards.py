"""Numbers are checked, and forgotten."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import cards
from simulator.errors import RequestRefused


@pytest.mark.parametrize("number", [card.number for card in cards.TEST_CARDS])
def test_every_test_card_has_a_fitting_check_digit(number: str) -> None:
    assert cards.passes_luhn(number)


@given(number=st.sampled_from([card.number for card in cards.TEST_CARDS]), data=st.data())
def test_one_wrong_digit_is_always_noticed(number: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(number) - 1))
    digit = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != number[place]]))

    assert not cards.passes_luhn(number[:place] + digit + number[place + 1 :])


@pytest.mark.parametrize(
    ("number", "brand"),
    [
        ("4242424242424242", "visa"),
        ("5555555555554444", "mastercard"),
        ("2223003122003222", "mastercard"),
        ("378282246310005", "amex"),
        ("6011111111111117", "discover"),
        ("6445644564456445", "discover"),
        ("3530111333300000", "unknown"),
    ],
)
def test_the_brand_is_known_by_the_first_digits(number: str, brand: str) -> None:
    assert cards.brand_of(number) == brand


def test_blanks_and_hyphens_do_not_matter() -> None:
    assert cards.read_number("4000-0000 0000-0002") == cards.Card(
        behaviour=cards.Behaviour.DECLINED, brand="visa", last4="0002"
    )


@pytest.mark.parametrize(
    "text",
    ["", "4242", "4242424242424241", "424242424242424x", "\uff14\uff12\uff14\uff12424242424242", "4" * 20],
)
def test_a_refusal_names_the_field_and_never_repeats_the_number(text: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        cards.read_number(text)

    assert refused.value.field == "number"
    assert not text or text not in refused.value.message


@pytest.mark.parametrize("text", ["11/26", "12/26", "01/2027", "11 / 26"])
def test_a_card_is_good_to_the_end_of_its_month(text: str) -> None:
    cards.check_expiry(text, today=dt.date(2026, 11, 30))


@pytest.mark.parametrize("text", ["10/26", "13/27", "1127", "", "11/26x"])
def test_an_expired_or_unreadable_date_is_refused(text: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        cards.check_expiry(text, today=dt.date(2026, 11, 30))

    assert refused.value.field == "exp"


@pytest.mark.parametrize("text", ["12", "12345", "12a"])
def test_a_security_code_has_three_or_four_digits(text: str) -> None:
    cards.check_cvc("123")
    with pytest.raises(RequestRefused):
        cards.check_cvc(text)
